"""``sweeps check FILE``: what is seen of a sweep's data before anything starts."""

import json
import subprocess
import sys

import pytest
from PIL import Image

WORDS = "a photo of a dog in the snow"
SWEEP = "name: mine\nmodel: {{base: {base}}}\ndata: {{source: {source}, path: {path}{more}}}\n"


@pytest.fixture
def folder(tmp_path):
    """Forty images, one of which is twice there, with one broken caption file's line."""
    images = tmp_path / "pairs"
    images.mkdir()
    rows = []
    for number in range(40):
        size = (20 + number, 30 if number else 90)
        Image.new("RGB", size, (6 * number, 0, 0)).save(images / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "text": f"{WORDS} {number}"})
    (images / "again.png").write_bytes((images / "5.png").read_bytes())
    rows += [
        {"file_name": "again.png", "text": f"{WORDS} 5"},
        {"file_name": "gone.png", "text": WORDS},
        {"file_name": "lost.png", "text": WORDS},
        {"file_name": "7.png", "text": " "},
    ]
    lines = [*map(json.dumps, rows), '{"file_name": "8.png", ']
    (images / "metadata.jsonl").write_text("\n".join(lines))
    return images


@pytest.fixture
def check(sweeps, folder, checkpoints, tmp_path):
    """Return a function that checks the folder: fields of ``data`` and arguments -> exit code,
    output, errors."""

    def call(more="", *arguments, base=None, source="folder", path=folder):
        base = base or checkpoints("qwen2_5_vl")
        text = SWEEP.format(base=base, source=source, path=path, more=more and f", {more}")
        (tmp_path / "mine.yaml").write_text(text)
        return sweeps("check", "mine.yaml", *arguments)

    return call


def test_data_that_would_be_refused_are_counted_by_reason(check):
    code, out, _ = check()
    assert code == 1
    assert "33 train, 4 validation, 4 test" in out
    assert "refused     4 rows or images" in out
    assert "  2         no such image in the folder or in images/" in out
    assert "gone.png: no such image in the folder or in images/ (metadata.jsonl line 42)" in out
    assert "7.png: empty caption (metadata.jsonl line 44)" in out
    assert "mine would be refused" in out
    assert "data: 4 problems, which the sweep will refuse; fix them, or leave them out with" in out


def test_machines_read_samples_as_the_model_sees_them(check):
    code, out, _ = check("on_bad_sample: skip", "--json")
    found = json.loads(out)
    assert (code, found["starts"], found["refusals"]) == (0, True, [])
    assert {name: own["captions"] for name, own in found["survey"]["splits"].items()} == {
        "train": 33, "validation": 4, "test": 4,
    }  # fmt: skip
    assert found["survey"]["copies"] == ["5.png = again.png"]
    assert found["survey"]["repeated"] == ["5.png"]
    assert sum(bar["count"] for bar in found["survey"]["sides"]["bars"]) == 40  # distinct images
    assert found["survey"]["sides"]["most"] == 90
    assert found["lengths"]["positions"] == 256
    assert found["lengths"]["truncated"] == []
    assert len(found["examples"]) == 5
    for each in found["examples"]:
        assert each["target"].startswith(WORDS)
        assert each["learned_tokens"] == each["target_tokens"]
        assert f"<|image_pad|> x {each['image_tokens']}" in each["prompt"]
        assert each["image_tokens"] > 0


def test_captions_that_are_cut_are_named(check, folder):
    long = {"file_name": "3.png", "text": "dog " * 300}
    with (folder / "metadata.jsonl").open("a") as file:
        file.write("\n" + json.dumps(long))
    _, out, _ = check("split: {train: 0.9, validation: 0.1, test: 0.0}")
    assert "truncated   1 of 41 samples, cut at 256 positions: 3.png" in out


def test_an_image_of_two_splits_is_named(check, folder):
    lists = {"train": [*range(1, 30)], "validation": [5, 31, 32, 33]}
    for name, numbers in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(f"{number}.png" for number in numbers))
    split = "split: {train: train.txt, validation: validation.txt, test: 0.0}"
    with (folder / "train.txt").open("a") as file:
        file.write("\nagain.png")
    code, out, _ = check(split.replace("test: 0.0", "test: none.txt"), "--json")
    assert (code, json.loads(out)["survey"]) == (1, None)
    (folder / "none.txt").write_text("0.png")
    code, out, _ = check(f"{split.replace('0.0', 'none.txt')}, on_bad_sample: skip", "--json")
    assert (code, json.loads(out)["survey"]["overlaps"]) == (
        0,
        [
            "5.png: listed for train, but also listed for validation",
            "again.png: listed for train, but the same image as 5.png in validation",
        ],
    )


def test_only_with_images_all_are_decoded(check, folder):
    whole = (folder / "9.png").read_bytes()
    (folder / "9.png").write_bytes(whole[:-30])
    (folder / "10.png").write_text("<html>not found</html>")
    skip = "on_bad_sample: skip"
    reasons = [
        [each["first"][0] for each in json.loads(check(skip, "--json", *more)[1])["refused"]]
        for more in ([], ["--images"])
    ]
    headers, decoded = ("\n".join(own) for own in reasons)
    assert "10.png: not an image of a known format, but HTML" in headers
    assert "10.png: not an image of a known format, but HTML" in decoded
    assert ("9.png: cannot be decoded" in headers, "9.png: cannot be decoded" in decoded) == (
        False,
        True,
    )


def test_shapes_that_the_processor_refuses_are_problems(check, folder):
    Image.new("RGB", (3000, 10)).save(folder / "11.png")
    code, out, _ = check("on_bad_sample: skip")
    assert code == 0
    assert "11.png: the image processor of model.base refuses 3000 x 10 pixels" in out


def test_without_a_base_the_data_are_checked_alone(check):
    code, out, _ = check("on_bad_sample: skip", base="someone/model")
    assert code == 0
    assert "33 train, 4 validation, 4 test" in out
    assert "someone/model is not on this machine" in out
    assert "sweeps check --model someone/model" in out
    assert "example" not in out


def test_an_objective_that_tells_nothing_apart_is_refused(check):
    code, out, _ = check(
        "on_bad_sample: skip, limit: 8", "--set", "search.objective.metric=cider", base="some/model"
    )
    assert code == 1
    assert "search.objective tells no trials apart: cider of 1 image is 0" in out


def test_links_are_not_followed(check, tmp_path):
    rows = [f"http://127.0.0.1:9/{number}.png,{WORDS}" for number in range(30)]
    table = tmp_path / "links.csv"
    table.write_text("\n".join(["image,caption", *rows]))
    code, out, _ = check(source="csv", path=table)
    assert code == 0
    assert "24 train, 3 validation, 3 test" in out


def test_neither_ray_nor_weights_are_loaded(folder, checkpoints, tmp_path):
    text = SWEEP.format(base=checkpoints("qwen2_5_vl"), source="folder", path=folder, more="")
    (tmp_path / "mine.yaml").write_text(text)
    program = (
        "import sys\nfrom sweeps.cli.app import main\nsys.argv = ['sweeps', 'check', 'mine.yaml']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'ray', 'mlflow', 'optuna'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def test_a_file_or_a_model_is_needed(sweeps):
    for arguments in ([], ["mine.yaml", "--model", "some/model"]):
        code, _, err = sweeps("check", *arguments)
        assert code == 2
        assert "give a sweep FILE" in err


def test_a_plan_counts_small_data(sweeps, folder, tmp_path):
    text = SWEEP.format(base="some/model", source="folder", path=folder, more="")
    (tmp_path / "mine.yaml").write_text(text)
    _, out, err = sweeps("plan", "mine.yaml")
    counts = "32 train, 4 validation, 4 test images, 41 captions; 4 problems: sweeps check"
    assert f"{counts} lists them" in out, (out, err)
