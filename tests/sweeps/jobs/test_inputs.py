"""Which files of the working folder a sweep takes along."""

import pytest

from sweeps.jobs.inputs import read
from workers.data.sample import DataError

CHECKPOINT = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json",
              "additional_chat_templates/tool.jinja")  # fmt: skip


def test_a_table_goes_with_the_images_that_it_names(tabled, fill):
    fill("a.png", "images/b.png", "other.png", "notes.txt", "images/notes.txt")
    found = read(tabled("a.png", "b.png", "https://pictures.example/c.png"))
    assert found.files == dict.fromkeys(("captions.csv", "a.png", "images/b.png"), "data.path")


def test_images_of_another_folder_have_its_field(tabled, fill):
    fill("set/far/a.png", "set/near/a.png")
    found = read(tabled("a.png", table="set/t.csv", overrides=("data.images=far",)))
    assert found.files == {"set/t.csv": "data.path", "set/far/a.png": "data.images"}


def test_a_folder_goes_with_its_captions_lists_and_images(sweep, fill):
    fill("shots/captions.txt", text="a.png,one\nb.png,two\n")
    fill("shots/train.txt", text="a.png\n")
    fill("shots/rest.txt", text="b.png\n")
    fill("shots/a.png", "shots/images/b.png", "shots/more.txt", "shots/deep/c.png")
    lists = "data.split={train: train.txt, validation: rest.txt, test: rest.txt}"
    found = read(sweep("data.source=folder", "data.limit=null", "data.path=shots", lists))
    assert sorted(found.files) == ["shots/a.png", "shots/captions.txt", "shots/images/b.png",
                                   "shots/rest.txt", "shots/train.txt"]  # fmt: skip


def test_a_base_model_goes_with_the_files_of_a_checkpoint(sweep, fill):
    fill(*(f"base/{name}" for name in CHECKPOINT))
    fill("base/.git/HEAD", "base/optimizer.pt", "base/notes.json", "base/runs/events.0",
         "base/optimizer.bin", "base/training_args.bin", "base/trainer_state.json")  # fmt: skip
    assert read(sweep("model.base=base")).files == {
        f"base/{name}": "model.base" for name in CHECKPOINT
    }


def test_every_base_of_the_space_goes_along(sweep, fill):
    fill("one/config.json", "two/config.json")
    found = read(sweep("search.space={model.base: {choice: [one, two, tiny:shapes]}}"))
    assert sorted(found.files) == ["one/config.json", "two/config.json"]


def test_what_is_the_clusters_stays_the_clusters(sweep, tabled, folder, fill):
    fill("shots/captions.csv", text="image,caption\na.png,words\n")
    fill("shots/a.png")
    own = ("data.source=csv", "data.limit=null")
    assert read(sweep(*own, f"data.path={folder}/shots/captions.csv")).files == {}
    assert read(sweep(*own, "data.path=s3://bucket/shots")).files == {}
    images = read(tabled("far.png", overrides=("data.images=/shared/shots",)))
    assert images.files == {"captions.csv": "data.path"}
    assert read(sweep("data.source=huggingface", "data.limit=null", "data.path=a/b")).files == {}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.path=../shots"], r"data\.path: must lie below .* got \.\./shots"),
        (["data.images=../far"], r"data\.images: must lie below .* got \.\./far"),
    ],
)
def test_a_path_out_of_the_folder_is_refused(tabled, fill, folder, overrides, said):
    fill("../shots/captions.csv")
    with pytest.raises(ValueError, match=said):
        read(tabled("a.png", overrides=overrides))


def test_a_missing_image_is_an_error_or_skipped_as_the_sweep_says(tabled, fill):
    fill("a.png")
    with pytest.raises(DataError, match=r"data\.path captions\.csv has 1 problem:\n  b\.png: no"):
        read(tabled("a.png", "b.png"))
    found = read(tabled("a.png", "b.png", overrides=("data.on_bad_sample=skip",)))
    assert sorted(found.files) == ["a.png", "captions.csv"]
    assert found.problems == ("b.png: no such image in the folder or in images/ "
                              "(captions.csv line 3)",)  # fmt: skip


def test_a_table_that_cannot_be_read_is_refused_as_the_sweep_would(tabled, folder):
    wanted = tabled()
    with pytest.raises(DataError, match=r"captions\.csv must have a header and rows"):
        read(wanted)
    (folder / "captions.csv").write_bytes(b"\0image")
    with pytest.raises(DataError, match="must be UTF-8 text"):
        read(wanted)
    (folder / "captions.csv").unlink()
    with pytest.raises(DataError, match=r"data\.path must be a folder"):
        read(wanted)


def test_a_base_with_pickled_weights_alone_is_refused_and_else_they_stay(sweep, fill):
    fill("base/config.json", "base/pytorch_model.bin")
    with pytest.raises(ValueError, match="must be safetensors"):
        read(sweep("model.base=base"))
    fill("base/model.safetensors")
    assert sorted(read(sweep("model.base=base")).files) == [
        "base/config.json",
        "base/model.safetensors",
    ]
