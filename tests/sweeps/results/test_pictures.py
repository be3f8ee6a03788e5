from PIL import Image

from sweeps.results import pictures
from sweeps.results.pictures import IMAGES, ScoredImages
from workers.data.sample import Sample
from workers.report import Prediction


def sample(number, question=None):
    return Sample(
        id=f"image-{number}", open=lambda: Image.new("RGB", (640, 320), "red"),
        captions=("red",), question=question,
    )  # fmt: skip


def test_small_copies_questions_and_the_base_s_captions_are_read_back(tmp_path):
    said = Prediction(image_id="image-0", caption="<b>blue</b>", references=("red",))
    pictures.keep(tmp_path / "kept", [sample(0), sample(1, "which colour?")], [said])
    kept = pictures.read(tmp_path / "kept")
    assert set(kept.pictures) == {"image-0", "image-1"}
    assert Image.open(kept.pictures["image-0"]).size == (256, 128)
    assert kept.questions == {"image-1": "which colour?"}
    assert kept.untrained == {"image-0": "<b>blue</b>"}


def test_of_many_images_the_first_are_kept(tmp_path):
    pictures.keep(tmp_path / "kept", [sample(number) for number in range(IMAGES + 5)], [])
    assert len(pictures.read(tmp_path / "kept").pictures) == IMAGES


def test_whoever_comes_second_changes_nothing(tmp_path):
    pictures.keep(tmp_path / "kept", [sample(0)], [])
    pictures.keep(tmp_path / "kept", [sample(1)], [])
    assert set(pictures.read(tmp_path / "kept").pictures) == {"image-0"}
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_sweep_without_scored_images_has_none(tmp_path):
    assert pictures.read(tmp_path / "none") == ScoredImages()
