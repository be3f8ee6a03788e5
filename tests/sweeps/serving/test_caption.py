"""`sweeps caption` from a model's name to lines on the terminal."""

import json
import sys

import pytest

from sweeps.cli import app
from sweeps.serving import caption

from .conftest import NAME, picture

QUIZ = "shapes-quiz"


@pytest.fixture
def call(shop, monkeypatch, capsys):
    """Return a function: arguments of `sweeps caption` -> exit code, output, what went wrong."""

    def run(*arguments):
        command = ["sweeps", "caption", *map(str, arguments), "--results", str(shop.results)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            app.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


@pytest.fixture
def files(tmp_path):
    for color in ("red", "blue"):
        picture(color).save(tmp_path / f"{color}.png")
    (tmp_path / "broken.png").write_text("no image")
    return tmp_path


def test_each_image_has_a_line(call, files, shop):
    red, blue = files / "red.png", files / "blue.png"
    code, out, _ = call(red, blue, red, "--model", f"models:/{NAME}/2")
    says = shop.says(NAME, "2", [picture(color) for color in ("red", "blue", "red")])
    assert code == 0
    assert out == "".join(
        f"{path}\t{text}\n" for path, text in zip((red, blue, red), says, strict=True)
    )


def test_a_bad_image_is_said_and_the_others_are_captioned(call, files, shop):
    shop.alias(NAME, "1")
    broken, blue, missing = files / "broken.png", files / "blue.png", files / "none.png"
    code, out, error = call(broken, blue, missing, "--model", f"{NAME}@champion")
    assert code == 1
    assert out == f"{blue}\t{shop.says(NAME, '1', [picture('blue')])[0]}\n"
    assert f"error: {broken}: not an image of a known format" in error
    assert f"error: {missing}: cannot be decoded: No such file" in error
    assert "Traceback" not in error


def test_an_eps_file_starts_no_program(call, eps, files, shop):
    shop.alias(NAME, "1")
    (files / "cat.jpg").write_bytes(eps.content)
    code, _, error = call(files / "cat.jpg", "--model", f"{NAME}@champion")
    assert code == 1
    assert "cat.jpg: not an image of a known format, but EPS" in error
    assert not eps.started.exists()


def test_json_holds_captions_and_errors(call, files, shop):
    red, broken = files / "red.png", files / "broken.png"
    code, out, _ = call(red, broken, "--json", "--model", f"models:/{NAME}/1")
    first, second = json.loads(out)
    assert code == 1
    assert first == {"path": str(red), "caption": shop.says(NAME, "1", [picture("red")])[0]}
    assert second["path"] == str(broken)
    assert "not an image" in second["error"]


def test_a_model_for_questions_is_asked_one(call, files, shop):
    number = shop.register(QUIZ, 5, task="vqa")
    red, model = files / "red.png", f"models:/{QUIZ}/{number}"
    code, out, _ = call(red, "--model", model, "--question", "a red disc")
    says = shop.says(QUIZ, number, [picture("red")], question="a red disc")
    assert (code, out) == (0, f"{red}\t{says[0]}\n")
    code, out, error = call(red, "--model", model)
    assert (code, out) == (1, "")
    assert "error: --question must be the question about the image" in error


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (f"{NAME}@nobody", "has versions"),
        ("nothing@champion", "there are models"),
        ("nothing-1", "no sweep 'nothing-1'"),
    ],
)
def test_an_unknown_model_is_one_line(call, files, model, reason):
    code, out, error = call(files / "red.png", "--model", model)
    assert (code, out) == (1, "")
    assert reason in error
    assert "Traceback" not in error


def test_images_are_written_sixteen_at_a_time(files, shop, monkeypatch):
    captioner = caption.load(f"models:/{NAME}/1", shop.results)
    monkeypatch.setattr(caption, "BATCH", 2)
    paths = [files / name for name in ("red.png", "broken.png", "blue.png", "red.png")]
    lines = list(caption.captioned(captioner, paths, None))
    assert [line.path for line in lines] == paths
    assert [line.error is None for line in lines] == [True, False, True, True]
    assert lines[0].caption == lines[3].caption
