"""`sweeps score` from files as people have them to a table, JSON and scores per image."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.cli import app
from workers.metrics.java.runtime import VARIABLE
from workers.metrics.scorer import Scorer

REFERENCES = {
    "9": ["A man rides a horse.", "A rider on a brown horse, outdoors"],
    "12": ["Two dogs run in the snow."],
    "100": ["A cat sleeps on a red sofa", "The cat is asleep", "a sleeping cat on a sofa"],
}
PREDICTIONS = {"100": "a cat on a sofa", "9": "a man on a horse", "12": "Two dogs run in the snow"}
COCO = ("bleu", "meteor", "rouge_l", "cider")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with the same captions in COCO's form and as tables, to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    results = [{"image_id": int(image), "caption": text} for image, text in PREDICTIONS.items()]
    write("predictions.json", results)
    pairs = [(int(image), text) for image, texts in REFERENCES.items() for text in texts]
    annotations = [
        {"id": number, "image_id": image, "caption": text}
        for number, (image, text) in enumerate(pairs)
    ]
    images = [{"id": int(image), "file_name": f"{image}.jpg"} for image in REFERENCES]
    write("refs.json", {"images": images, "annotations": annotations})
    table("predictions.csv", ["image_id", "caption"], PREDICTIONS.items())
    table("refs.csv", ["image", "caption"], pairs)
    return tmp_path


def write(name, value):
    Path(name).write_text(json.dumps(value), encoding="utf-8")


def table(name, columns, rows):
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def score(monkeypatch, capsys):
    """Return a function that calls the command: arguments -> exit code, output, errors."""

    def call(predictions="predictions.json", *arguments, references="refs.json"):
        words = ["sweeps", "score", predictions, "--references", references, *arguments]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            app.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


@pytest.fixture
def scores(score):
    """Return a function: arguments -> the JSON that is printed, by a metric without Java."""

    def call(predictions="predictions.json", *arguments, **files):
        code, out, err = score(
            predictions, *arguments, "--metrics", "word_error_rate", "--json", **files
        )
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def test_the_table_has_what_the_scorer_says_with_intervals(score):
    code, out, err = score()
    assert (code, err) == (0, "")
    scorer = Scorer(COCO, REFERENCES)
    expected = scorer.score(PREDICTIONS).corpus
    scorer.close()
    head, *rows, note = out.splitlines()
    assert head.split() == ["metric", "score", "95", "%", "interval"]
    shown = [row.split() for row in rows]
    assert [row[:2] for row in shown] == [[key, f"{expected[key]:.4f}"] for key in expected]
    assert all(float(row[2]) <= float(row[1]) <= float(row[4]) for row in shown[4:])
    assert note == "3 images"


def test_json_is_exact_and_alone(scores):
    found = scores()
    assert (found["images"], found["images_without_prediction"]) == (3, 0)
    exact = Scorer(["word_error_rate"], REFERENCES).score(PREDICTIONS).corpus
    assert found["scores"] == exact
    low, high = found["intervals_95"]["word_error_rate"]
    assert low <= exact["word_error_rate"] <= high


@pytest.mark.parametrize("predictions", ["predictions.json", "predictions.csv"])
@pytest.mark.parametrize("references", ["refs.json", "refs.csv"])
def test_json_and_tables_give_the_same(scores, predictions, references):
    assert scores(predictions, references=references) == scores()


def test_flickr8ks_own_file_has_references(scores):
    lines = [f"{n}.jpg#{i}\t{text}" for n in REFERENCES for i, text in enumerate(REFERENCES[n])]
    Path("Flickr8k.token.txt").write_text("\n".join(lines))
    table("mine.csv", ["image", "caption"], [(f"{n}.jpg", PREDICTIONS[n]) for n in PREDICTIONS])
    assert scores("mine.csv", references="Flickr8k.token.txt") == scores()


def test_answers_are_scored_under_their_names(score):
    table("answers.csv", ["index", "prediction"], [(1, "34 gram"), (2, ""), (3, "5 volt")])
    truths = [(1, "x/1", "34 gram"), (2, "x/2", ""), (3, "x/3", "6 volt")]
    table("test.csv", ["index", "image_link", "entity_value"], truths)
    options = ["--metrics", "challenge_f1, anls", "--json"]
    code, out, _ = score("answers.csv", *options, references="test.csv")
    assert (code, json.loads(out)["scores"]["challenge_f1"]) == (0, 2 / 3)
    write("answers.json", [{"question_id": 1, "answer": "34 gram"}])
    code, out, _ = score("answers.json", *options, "--only-predicted", references="test.csv")
    assert (code, json.loads(out)["scores"]["challenge_f1"]) == (0, 1.0)


def test_tables_with_other_names_can_be_told(scores, score):
    table("mine.csv", ["Photo", "words"], PREDICTIONS.items())
    code, out, err = score("mine.csv")
    assert (code, out) == (1, "")
    assert "mine.csv must have a column for the image, such as image_id," in err
    assert "its columns are Photo, words; --columns IMAGE,CAPTION names others" in err
    assert scores("mine.csv", "--columns", "Photo, words") == scores()


@pytest.mark.parametrize("form", ["csv", "json"])
def test_scores_of_each_image_are_written(scores, form):
    scores("predictions.json", "--per-image", f"each.{form}")
    exact = Scorer(["word_error_rate"], REFERENCES).score(PREDICTIONS)
    text = Path(f"each.{form}").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines())) if form == "csv" else json.loads(text)
    assert [str(row["image_id"]) for row in rows] == list(REFERENCES)
    assert [row["caption"] for row in rows] == [PREDICTIONS[image] for image in REFERENCES]
    written = [float(row["word_error_rate"]) for row in rows]
    assert written == exact.images["word_error_rate"].tolist()


def test_fewer_predictions_than_images_are_scored_only_when_asked_for(score, scores):
    write("some.json", [{"image_id": 9, "caption": PREDICTIONS["9"]}])
    code, out, err = score("some.json")
    assert (code, out) == (1, "")
    assert "2 of the 3 images of refs.json have no prediction: '12', '100'; --only-predict" in err
    found = scores("some.json", "--only-predicted")
    alone = Scorer(["word_error_rate"], {"9": REFERENCES["9"]}).score({"9": PREDICTIONS["9"]})
    assert (found["images"], found["images_without_prediction"]) == (1, 2)
    assert found["scores"] == alone.corpus
    assert found["intervals_95"] == {}
    options = ["--only-predicted", "--metrics", "rouge_l,cider"]
    assert "1 images of 3; 2 have no prediction, and CIDEr's" in score("some.json", *options)[1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.json", "[{", "p.json: must be JSON: "),
        ("p.json", "[]", "p.json holds no captions"),
        ("p.json", '{"images": []}', "must be a list or an object with annotations; it has 'image"),
        ("p.json", "7", "must be a list or an object with annotations; it has int"),
        ("p.json", '[{"image_id": 9, "text": null}]',
         "p.json item 1: image '9' must have a caption as text; it has 'image_id', 'text'"),
        ("p.json", '[{"caption": "a"}, 3]', "p.json item 1: must have an image_id; it has 'cap"),
        ("p.json", '[{"image_id": 9, "caption": "a"}, {"image_id": 9, "caption": "b"}]',
         "p.json item 2: image '9' again, after p.json item 1"),
        ("p.json", '[{"image_id": 9, "caption": "a"}, {"image_id": 8, "caption": "b"}]',
         "1 of 2 images are not in refs.json: '8'; its images are such as '9', '12', '100'"),
        ("p.csv", "", "p.csv must have a header and rows"),
        ("p.csv", "image_id,caption\n", "p.csv must have a header and rows"),
        ("p.csv", "image_id,words\n9,a\n", "must have a column for the caption, such as "),
        ("p.csv", "image_id,caption\n9,a\n9,b\n", "p.csv line 3: image '9' again, after p.csv l"),
        ("p.csv", "image_id,caption\n9,a,b\n,c\n12,d\n", "p.csv line 2: must have 2 columns"),
        ("p.csv", "image_id,caption\n ,c\n", "p.csv line 2: image_id is empty"),
        ("p.tsv", "9\ta\n", "p.tsv must end with .json, .csv, .txt"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(score, name, content, said):
    Path(name).write_text(content)
    code, out, err = score(name, "--metrics", "exact_match")
    assert (code, out) == (1, "")
    assert said in err
    assert "Traceback" not in err


def test_of_many_bad_rows_some_are_named(score):
    write("p.json", [{"image_id": 9, "caption": "a"}] * 9)
    _, _, err = score("p.json")
    assert err.count("again, after p.json item 1") == 5
    assert "and 3 more" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.json"], "none.json: cannot be read: No such file"),
        (["predictions.json", "--metrics", "bleu,spice"], "a metric must be one of bleu, "),
        (["predictions.json", "--columns", "photo"], "--columns must be two names such as photo,"),
        (["predictions.json", "--per-image", "x.txt"], "--per-image must end with .csv or .json"),
        (["predictions.json", "--per-image", "no/x.csv"], "--per-image: there is no folder no"),
    ],
)
def test_what_a_person_can_mend_is_one_line(score, arguments, said):
    code, out, err = score(*arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err


def test_the_references_must_be_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sweeps", "score", "predictions.json"])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 2
    assert "--references" in capsys.readouterr().err


def test_no_java_is_one_line(score, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/nowhere")
    code, out, err = score()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no Java: SWEEPS_JAVA=/nowhere" in err


def test_nothing_heavy_is_loaded():
    code = (
        "import sys; from sweeps.cli import app\n"
        "sys.argv = ['sweeps', 'score', 'predictions.json', '--references', 'refs.json', "
        "'--json', '--metrics', 'bleu']\n"
        "try: app.main()\n"
        "finally: print(*{'torch', 'ray', 'mlflow', 'transformers'} & set(sys.modules), "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "bleu_4" in json.loads(done.stdout)["scores"]
