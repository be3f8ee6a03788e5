"""The test split: which images may judge, and how their uses are counted."""

from dataclasses import replace

import pytest

from sweeps.promotion.evidence import count_uses, digest_images, load_samples
from workers.data.sample import Sample
from workers.recipe import Recipe

SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}


def recipe_of(data):
    return Recipe.model_validate({"model": {"base": "tiny:shapes"}, "data": data})


def sample(name, *captions, question=None):
    return Sample(id=name, open=lambda: None, captions=captions, question=question)


def test_the_test_split_judges():
    samples = load_samples(recipe_of({"source": "shapes", "limit": 24, "split": SHARES}))
    assert len(samples) == 6
    assert all(sample.captions for sample in samples)


def test_an_empty_test_split_is_refused_with_what_to_do():
    split = {"train": 0.5, "validation": 0.5, "test": 0.0}
    with pytest.raises(ValueError, match="must have at least two images, got train 12") as refused:
        load_samples(recipe_of({"source": "shapes", "limit": 24, "split": split}))
    assert "the test split of data.path shapes" in str(refused.value)
    assert "give data.split a share of captioned images for test" in str(refused.value)


def test_a_test_split_without_captions_is_refused_with_what_to_do(tmp_path):
    from PIL import Image

    rows = ["image,caption", *(f"{number}.png,a strip" for number in range(8))]
    for number in range(12):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "test.csv").write_text("\n".join(["image", *(f"{n}.png" for n in range(8, 12))]))
    data = {
        "source": "csv", "path": str(tmp_path),
        "split": {"train": "train.csv", "validation": 0.25, "test": "test.csv"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="4 of its 4 images have none, such as 8") as refused:
        load_samples(recipe_of(data))
    assert "run a new sweep" in str(refused.value)


SAMPLES = (sample("a", "one", "two"), sample("b", "three", question="what?"))


def test_the_digest_does_not_depend_on_the_order():
    assert digest_images(SAMPLES) == digest_images(SAMPLES[::-1])


@pytest.mark.parametrize(
    "change",
    [{"id": "c"}, {"captions": ("three", "four")}, {"captions": ("tree",)}, {"question": "who?"}],
)
def test_the_digest_is_another_for_other_images_references_and_questions(change):
    changed = (SAMPLES[0], replace(SAMPLES[1], **change))
    assert digest_images(changed) != digest_images(SAMPLES)


def test_uses_are_counted_over_runs_and_experiments_by_the_images(tracking):
    client = tracking.client()
    runs = []
    for name in ("one", "other"):
        experiment = replace(tracking, experiment=name).experiment_id()
        runs.append(client.create_run(experiment).info.run_id)
    assert count_uses(client, runs[0], "a" * 64, more=False) == 0
    assert count_uses(client, runs[0], "a" * 64, more=True) == 1
    assert count_uses(client, runs[0], "a" * 64, more=True) == 2
    assert count_uses(client, runs[1], "a" * 64, more=True) == 3
    assert count_uses(client, runs[1], "b" * 64, more=True) == 1
    assert count_uses(client, runs[1], "a" * 64, more=False) == 3
