"""What every data source keeps to; a new one joins with a line in `RECIPES`."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest
from PIL import Image

from workers import data as sources
from workers.data.sample import SPLITS, DataError, DataSet, Sample
from workers.recipe import Columns, Data, Split

COUNT = 12


def strips(path: Path) -> list[str]:
    """Draw images that are all different; return their names."""
    path.mkdir(parents=True, exist_ok=True)
    names = [f"{index}.png" for index in range(COUNT)]
    for index, name in enumerate(names):
        Image.new("RGBA", (8, 5 + index), (index, 0, 0, 200)).save(path / name)
    return names


def amazon_vqa(path: Path) -> Data:
    names = strips(path / "fetched")
    rows = [
        f"{row},https://m.example/I/{name},7,width,{row} inch" for row, name in enumerate(names)
    ]
    header = "index,image_link,group_id,entity_name,entity_value"
    (path / "train.csv").write_text("\n".join([header, *rows]))
    return Data(source="amazon-vqa", path=str(path / "train.csv"), images="fetched")


def coco(path: Path) -> Data:
    names = strips(path / "val2017")
    value = {
        "images": [{"id": row, "file_name": name} for row, name in enumerate(names)],
        "annotations": [
            {"image_id": row, "caption": f"strip {row}"} for row in range(COUNT) for _ in range(2)
        ],
    }
    (path / "captions_val2017.json").write_text(json.dumps(value))
    return Data(source="coco", path=str(path))


def csv(path: Path) -> Data:
    rows = [f"{name},strip {name}" for name in strips(path / "images")]
    (path / "all.csv").write_text("\n".join(["photo,said", *rows]))
    columns = Columns(image="photo", caption="said")
    return Data(source="csv", path=str(path / "all.csv"), columns=columns)


def flickr8k(path: Path) -> Data:
    names = strips(path / "Flicker8k_Dataset")
    lines = [f"{name}#{number}\tstrip {name} ." for name in names for number in range(5)]
    (path / "Flickr8k.token.txt").write_text("\n".join(lines))
    return Data(source="flickr8k", path=str(path), split=Split())


def karpathy(path: Path) -> Data:
    images = [
        {"filename": name, "split": "train", "sentences": [{"raw": f"strip {name}"}]}
        for name in strips(path / "images")
    ]
    (path / "dataset_own.json").write_text(json.dumps({"images": images}))
    return Data(source="karpathy", path=str(path), split=Split())


def folder(path: Path) -> Data:
    lines = [
        json.dumps({"file_name": name, "captions": [f"strip {name}"] * 2}) for name in strips(path)
    ]
    (path / "metadata.jsonl").write_text("\n".join(lines))
    return Data(source="folder", path=str(path))


def huggingface(path: Path) -> Data:
    images = [Image.new("LA", (8, 5 + index), (index, 200)) for index in range(COUNT)]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    columns = {"image": images, "text": [f"strip {index}" for index in range(COUNT)]}
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(path / "saved"))
    return Data(source="huggingface", path=str(path / "saved"))


def shapes(path: Path) -> Data:
    return Data(source="shapes", limit=30)


RECIPES: dict[str, Callable[[Path], Data]] = {
    "amazon-vqa": amazon_vqa,
    "coco": coco,
    "csv": csv,
    "flickr8k": flickr8k,
    "folder": folder,
    "huggingface": huggingface,
    "karpathy": karpathy,
    "shapes": shapes,
}


@pytest.fixture(params=sources.NAMES)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    return RECIPES[request.param](tmp_path)


@pytest.fixture
def dataset(data: Data) -> DataSet:
    return sources.load(data)


def samples(dataset: DataSet) -> list[Sample]:
    return [sample for split in SPLITS for sample in dataset.splits[split]]


def test_train_and_validation_are_filled(dataset: DataSet) -> None:
    assert tuple(dataset.splits) == SPLITS
    assert dataset.splits["train"]
    assert dataset.splits["validation"]
    assert dataset.problems == ()


def test_no_image_is_in_two_splits(dataset: DataSet) -> None:
    ids = [sample.id for sample in samples(dataset)]
    assert len(set(ids)) == len(ids)


def test_images_are_rgb_and_captions_say_something(dataset: DataSet) -> None:
    for sample in samples(dataset):
        assert sample.open().mode == "RGB"
        assert sample.captions
        assert all(caption.strip() for caption in sample.captions)
        assert sample.question is None or sample.question.strip()


def test_another_process_can_open_the_images(dataset: DataSet) -> None:
    for sample in pickle.loads(pickle.dumps(dataset.splits["train"])):
        assert sample.open().mode == "RGB"


def test_each_image_of_a_file_has_a_digest(data: Data, dataset: DataSet) -> None:
    digests = {sample.digest for sample in samples(dataset)}
    assert digests == {None} if data.source == "shapes" else len(digests - {None}) == COUNT


def test_an_eps_file_called_png_is_refused_and_starts_no_program(
    eps: SimpleNamespace, tmp_path: Path, data: Data
) -> None:
    if data.source == "shapes":
        pytest.skip("it draws its images")
    if data.source == "huggingface":
        rows = {"image": [{"bytes": eps.content, "path": None}] * COUNT, "text": ["a"] * COUNT}
        part = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
        part.to_parquet(str(tmp_path / "eps.parquet"))
        data = data.model_copy(update={"path": str(tmp_path / "eps.parquet")})
    for image in tmp_path.rglob("*.png"):
        image.write_bytes(eps.content)
    with pytest.raises(DataError, match="not an image of a known format, but EPS"):
        sources.load(data)
    assert not eps.started.exists()


def test_loading_twice_gives_the_same_set(data: Data, dataset: DataSet) -> None:
    again = sources.load(data)
    assert again.digest == dataset.digest
    assert [(sample.id, sample.captions, sample.open().tobytes()) for sample in samples(again)] == [
        (sample.id, sample.captions, sample.open().tobytes()) for sample in samples(dataset)
    ]


def test_the_listed_files_alone_give_the_same_set(
    data: Data, dataset: DataSet, tmp_path: Path
) -> None:
    for name in ("hf_token", ".aws/credentials", "images/notes.txt", "other.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("hush")
    listed = sources.files(data)
    assert listed.problems == ()
    alone = tmp_path / "alone"
    for file in (*listed.tables, *listed.images):
        assert file.read_bytes() != b"hush"
        copy = alone / file.relative_to(tmp_path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    path = data.path and str(alone / Path(data.path).relative_to(tmp_path))
    again = sources.load(data.model_copy(update={"path": path}))
    assert again.digest == dataset.digest
    assert [sample.id for sample in samples(again)] == [sample.id for sample in samples(dataset)]


def test_limit_bounds_the_images_and_changes_the_digest(data: Data, dataset: DataSet) -> None:
    fewer = sources.load(data.model_copy(update={"limit": 10}))
    assert len(samples(fewer)) == 10
    assert fewer.digest != dataset.digest


def test_the_seed_changes_the_set(data: Data, dataset: DataSet) -> None:
    assert sources.load(data.model_copy(update={"seed": 1})).digest != dataset.digest


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"one of amazon-vqa, coco, .*, shapes; got 'foldr'"):
        sources.load(Data(source="foldr"))


def test_data_is_a_key_of_dictionaries(data: Data) -> None:
    assert {data: 1}[data.model_copy(deep=True)] == 1


@pytest.mark.parametrize(
    ("source", "field", "value"),
    [
        ("folder", "columns", Columns(image="photo")),
        ("shapes", "images", "pictures"),
        ("csv", "revision", "v1"),
        ("coco", "allow_private_links", True),
        ("huggingface", "allow_redirected_links", True),
    ],
)
def test_a_field_that_the_source_ignores_is_refused(source: str, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"data\.{field} must be left out: the source {source}"):
        sources.load(Data(source=source, path="anywhere", **{field: value}))


def test_naming_the_sources_imports_nothing_heavy() -> None:
    program = (
        "import sys, workers.data; heavy = ('torch', 'PIL', 'datasets', 'numpy', 'urllib3');"
        "print(len(workers.data.NAMES), [name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(sources.__file__).parents[2],
    )
    assert result.stdout.split() == [str(len(RECIPES)), "[]"]
