"""Files of predictions: whole or not at all, and by the rules of the challenge."""

import csv
import json

import pytest
from PIL import Image

from sweeps.serving.prediction_files import FORMS, by_the_rules, check_out, write
from workers.data.contest import question
from workers.data.sample import Sample
from workers.recipe import Recipe
from workers.report import Prediction


def recipe(source="folder", task="captioning", **columns):
    data = {"source": source, "columns": columns}
    return Recipe.model_validate({"task": task, "model": {"base": "x"}, "data": data})


def predictions(**captions):
    return [Prediction(image_id=id, caption=text, references=()) for id, text in captions.items()]


def about(*entities):
    return [
        Sample(id=str(number), open=lambda: Image.new("RGB", (1, 1)), captions=(), question=asked)
        for number, asked in enumerate(entities)
    ]


def test_what_may_not_be_handed_in_is_emptied_and_counted():
    given = predictions(
        weight="34 gram", volts="34 gram", none="", text="heavy", number="1e3 gram", other="1 gram"
    )
    asked = [question(name) for name in ("item_weight", "voltage", "width", "height", "depth")]
    kept, emptied = by_the_rules(given, about(*asked, "How heavy?"), recipe("amazon-vqa", "vqa"))
    assert [each.caption for each in kept] == ["34 gram", "", "", "", "", ""]
    assert [each.image_id for each in kept] == [each.image_id for each in given]
    assert emptied == 4


def test_other_data_have_no_rule():
    given = predictions(a="a dog")
    assert by_the_rules(given, about(None), recipe()) == (given, 0)


@pytest.mark.parametrize(
    ("of", "header"),
    [
        (recipe(), ["image_id", "caption"]),
        (recipe("csv", image="image", caption="caption"), ["image", "caption"]),
        (recipe("csv", image="image", id="number"), ["number", "caption"]),
        (recipe("csv", "vqa"), ["image_id", "answer"]),
        (recipe("amazon-vqa", "vqa"), ["index", "prediction"]),
    ],
)
def test_columns_are_called_as_in_the_data(tmp_path, of, header):
    write(tmp_path / "out.csv", predictions(a="x"), of)
    assert (tmp_path / "out.csv").read_text() == f"{','.join(header)}\na,x\n"


def test_any_caption_comes_back_from_a_table(tmp_path):
    hostile = {"a,b": 'says "no", twice', "ü": "one\r\ntwo", "c": "", "=d": "—"}
    write(tmp_path / "out.csv", predictions(**hostile), recipe())
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        assert dict(list(csv.reader(file))[1:]) == hostile


def test_ids_that_are_numbers_are_numbers_in_json(tmp_path):
    write(tmp_path / "out.json", predictions(**{"42": "x", "007": "y", "a.png": "ü"}), recipe())
    results = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [each["image_id"] for each in results] == [42, "007", "a.png"]
    assert results[2]["caption"] == "ü"


@pytest.mark.parametrize("ending", FORMS)
def test_a_file_that_cannot_be_made_leaves_the_old_one(tmp_path, ending):
    out = tmp_path / f"out{ending}"
    out.write_text("old")
    lone = predictions(a="\ud800")  # no UTF-8 has it
    with pytest.raises(UnicodeEncodeError):
        write(out, lone, recipe())
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "old"


def test_a_file_that_could_not_be_written_is_refused_beforehand(tmp_path):
    check_out(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"--out must end with \.csv or \.json, got"):
        check_out(tmp_path / "a.yaml")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_out(tmp_path / "no" / "a.csv")
