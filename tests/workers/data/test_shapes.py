import pytest

from workers import data as sources
from workers.data import scenes, shapes
from workers.data.sample import SPLITS
from workers.recipe import Data, Split

TELLING = {scenes.target_captions(scene): scene for scene in scenes.scenes()}


def load(**fields):
    return shapes.load(Data(source="shapes", **fields))


def shown(data_set, split):
    return {TELLING[sample.captions] for sample in data_set.splits[split]}


def test_default_size_and_shares():
    data_set = load()
    assert [len(data_set.splits[name]) for name in SPLITS] == [176, 22, 22]
    assert data_set.problems == ()


def test_is_a_source():
    assert sources.load(Data(source="shapes", limit=30)).digest == load(limit=30).digest


@pytest.mark.parametrize("limit", [5, 7, 33, 192])
def test_limit_counts_all_splits(limit):
    data_set = load(limit=limit, split=Split(train=0.5, validation=0.3, test=0.2))
    assert sum(len(samples) for samples in data_set.splits.values()) == limit


@pytest.mark.parametrize("limit", [40, 2000])
def test_no_scene_is_in_two_splits_or_known_to_the_base(limit):
    data_set = load(limit=limit, split=Split(train=0.5, validation=0.25, test=0.25))
    train, validation, test = (shown(data_set, name) for name in SPLITS)
    assert not validation & test
    assert train <= set(scenes.known_scenes())
    assert validation | test <= set(scenes.held_out_scenes())


def test_ids_and_images_are_unique_even_when_scenes_come_again():
    data_set = load(limit=1500)
    samples = [sample for split in data_set.splits.values() for sample in split]
    assert len({sample.id for sample in samples}) == 1500
    assert len({sample.open().tobytes() for sample in samples}) == 1500


def test_image_shows_what_its_captions_say():
    sample = load(limit=10).splits["train"][0]
    scene = TELLING[sample.captions]
    colors = {color for _, color in sample.open().getcolors()}
    assert colors >= {scenes.PAINTS[scene.first.color], scenes.PAINTS[scene.second.color]}


def test_same_data_is_the_same_set():
    once, again = load(limit=40), load(limit=40)
    assert once.digest == again.digest
    for split in SPLITS:
        pairs = zip(once.splits[split], again.splits[split], strict=True)
        assert all(a.open().tobytes() == b.open().tobytes() for a, b in pairs)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"limit": 41}, {"split": Split(train=0.7, validation=0.2)}]
)
def test_digest_tells_sets_apart(other):
    assert load(limit=40).digest != load(**{"limit": 40, **other}).digest


def test_path_is_refused():
    with pytest.raises(ValueError, match=r"data\.path must be left out.*'photos'"):
        load(path="photos")


def test_split_files_are_refused():
    files = Split(train="train.txt", validation="dev.txt", test="test.txt")
    with pytest.raises(ValueError, match=r"data\.split\.train must be a share.*'train\.txt'"):
        load(split=files)


def test_empty_split_is_refused():
    with pytest.raises(ValueError, match=r"data\.limit must be larger: of 2 .* for validation"):
        load(limit=2)
