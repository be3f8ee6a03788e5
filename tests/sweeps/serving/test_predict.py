"""`sweeps predict` from all that names an adapter to all forms of files, on a tiny base."""

import csv
import json
import shutil
import sys

import pytest
from PIL import Image
from rich.console import Console

from sweeps.cli import app
from sweeps.promotion import registry
from sweeps.promotion.adapters import with_progress
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.serving.predict import override_recipe, write_predictions
from sweeps.spec.load import dump, parse
from sweeps.spec.problems import SpecError
from sweeps.study.study import open_study
from sweeps.study.suggester import Suggester
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers import data
from workers.families.prompts import PromptBuilder
from workers.host.host import Host
from workers.inference.predict import Adapted, predict

SWEEP = """\
name: shapes
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 1, batch_size: 4, learning_rate: 2e-2}}
adapter: {{rank: 4, alpha: 8.0}}
evaluate: {{metrics: [exact_match], max_new_tokens: 6, final_beams: 2}}
search:
  space: {{adapter.rank: {{choice: [2]}}}}
  objective: {{metric: exact_match}}
"""
UNITS = "index,image_link,group_id,entity_name"


@pytest.fixture(scope="module")
def swept(untrained_base, tmp_path_factory):
    """The results of a sweep with one trial, registered as shapes-captioner, and its recipe."""
    root = tmp_path_factory.mktemp("results")
    sweep = parse(SWEEP.format(base=untrained_base))
    folder = SweepFolder.create(root, sweep.name)
    folder.spec.write_text(dump(sweep))
    recipe = sweep.recipe.with_point(Suggester(open_study(sweep, folder), sweep).next().point)
    host = Host(device="cpu", threads=1)
    host.admit("trial-000", recipe)
    report = host.advance("trial-000")
    host.export("trial-000", folder.best_adapter("trial-000"))
    host.close()
    score = report.metrics["val/exact_match"]
    record.append(
        folder,
        "trial-000",
        RungResult(
            rung=1,
            objective=score,
            best=score,
            finished=True,
            seconds=1.0,
            metrics=dict(report.metrics),
            time=0.0,
        ),
    )
    tracking = Tracking(uri=None, experiment=sweep.name, root=folder.root)
    parent = SweepRun.open(tracking, folder.sweep_id, folder.spec.read_text(), {})
    run = PublishedTrial.open(parent, "trial-000", "trial-000 r2", params={}, tags={})
    run.best(report.metrics, report.rung)
    parent.close_trial("trial-000", "completed")
    adapter = folder.best_adapter("trial-000")
    made = registry.register(tracking, run.run_id, adapter, recipe, "shapes-captioner", tags={})
    client = tracking.client()
    client.set_registered_model_alias("shapes-captioner", "champion", str(made))
    return folder, recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def predicted(swept, folder, capsys):
    """Return a function that predicts: source and options -> rows of the file, what was said."""

    def call(source, out="predictions.csv", **options):
        console = Console(width=160, highlight=False, markup=False)
        write_predictions(source, folder / out, console, results=swept[0].root, **options)
        text = (folder / out).read_text()
        rows = json.loads(text) if out.endswith(".json") else list(csv.reader(text.splitlines()))
        return rows, capsys.readouterr().out

    return call


@pytest.fixture
def refused(swept, folder, monkeypatch, capsys):
    """Return a function that calls the command: arguments -> exit code, errors."""

    def call(*arguments):
        words = ["sweeps", "predict", *arguments, "--results", str(swept[0].root)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            app.main()
        assert list(folder.glob("*predictions*")) == []
        return end.value.code, capsys.readouterr().err

    return call


def test_a_sweep_predicts_with_its_winner_in_the_order_of_the_data(swept, predicted):
    rows, said = predicted("shapes-1")
    samples = data.load(swept[1].data).splits["test"]
    assert rows[0] == ["image_id", "caption"]
    assert [row[0] for row in rows[1:]] == [sample.id for sample in samples]
    assert "trial-000 r2 of shapes-1: 6 samples of test" in said
    assert "predicted 6 of 6" in said
    assert "wrote 6 predictions to" in said
    hits = sum(
        caption in sample.captions for (_, caption), sample in zip(rows[1:], samples, strict=True)
    )
    assert f"scores on test: exact_match {hits / 6:.4f}" in said


def test_model_alias_version_and_folder_say_the_same(swept, predicted):
    results, _ = swept
    expected, _ = predicted("shapes-1")
    assert predicted("models:/shapes-captioner@champion")[0] == expected
    assert predicted("models:/shapes-captioner/1")[0] == expected
    adapter = str(results.best_adapter("trial-000"))
    assert predicted(adapter, data="shapes-1")[0] == expected
    assert predicted(adapter, data=str(results.spec))[0] == expected


def test_json_is_what_the_evaluation_of_coco_reads(predicted):
    rows, _ = predicted("shapes-1")
    results, _ = predicted("shapes-1", "predictions.json")
    assert [[str(each["image_id"]), each["caption"]] for each in results] == rows[1:]
    assert {tuple(each) for each in results} == {("image_id", "caption")}


def test_other_splits_and_decoding_can_be_chosen(swept, predicted):
    rows, said = predicted("shapes-1", split="validation", overrides=["evaluate.max_new_tokens=1"])
    ids = [sample.id for sample in data.load(swept[1].data).splits["validation"]]
    assert [row[0] for row in rows[1:]] == ids
    assert all(len(caption.split()) <= 1 for _, caption in rows[1:])
    assert "samples of validation" in said


def test_a_contest_gets_its_two_columns_in_the_order_of_its_file(folder, predicted):
    names = ["b.png", "c.png", "a.png"]
    for number, name in enumerate([*names, *(f"t{n}.png" for n in range(3))]):
        Image.new("RGB", (8, 8), (number * 40, 0, 90)).save(folder / name)
    (folder / "train.csv").write_text("photo,text\n" + "".join(f"t{n}.png,x\n" for n in range(3)))
    (folder / "test.csv").write_text("photo\n" + "".join(f"{name}\n" for name in names))
    mine = ["data.source=csv", f"data.path={folder}", "data.limit=null", "data.split=null"]
    columns = "data.columns={image: photo, caption: text}"
    rows, said = predicted("shapes-1", overrides=[*mine, columns])
    assert "scores" not in said  # nobody but the contest knows the captions
    assert rows[0] == ["photo", "text"]
    assert [row[0] for row in rows[1:]] == names


def test_the_command_takes_every_option(swept, folder, monkeypatch, capsys):
    options = ["--split", "validation", "--out", "mine.json", "--beams", "1", "--batch-size", "2",
               "--max-new-tokens", "1", "--data", "shapes-1", "--set", "data.limit=12",
               "--results", str(swept[0].root)]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["sweeps", "predict", "shapes-1", *options])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 0, capsys.readouterr().err
    results = json.loads((folder / "mine.json").read_text())
    assert len(results) == 3
    assert all(len(each["caption"].split()) <= 1 for each in results)


@pytest.fixture
def challenge(folder):
    """The two files of the challenge, with their images."""
    (folder / "images").mkdir()
    for number in range(6):
        Image.new("RGB", (8, 8), (number * 40, 0, 0)).save(folder / "images" / f"{number}.jpg")
    train = [f"{n},http://x/{n}.jpg,7,item_weight,{n} gram" for n in range(3)]
    test = [f"{9 - n},http://x/{n}.jpg,7,voltage" for n in (5, 3, 4)]
    (folder / "train.csv").write_text("\n".join([f"{UNITS},entity_value", *train]))
    (folder / "test.csv").write_text("\n".join([UNITS, *test]))
    split = "{train: train.csv, validation: 0.3, test: test.csv}"
    return [
        *("task=vqa", "data.source=amazon-vqa", f"data.path={folder}", "data.images=images"),
        *("data.limit=null", f"data.split={split}", "prompt.text='{question}'"),
    ]


def test_answers_that_break_the_challenges_rule_are_emptied_and_counted(
    swept, challenge, predicted
):
    rows, said = predicted("shapes-1", overrides=challenge)
    assert rows == [["index", "prediction"], ["4", ""], ["6", ""], ["5", ""]]
    recipe = override_recipe(swept[1], challenge)
    adapted = Adapted.load(recipe.model, "none", swept[0].best_adapter("trial-000"))
    samples = data.load(recipe.data).splits["test"]
    prompts = PromptBuilder(task="vqa", prompt=recipe.prompt)
    answers = [each.caption for each in predict(adapted, samples, prompts, recipe.evaluate)]
    broken = sum(answer != "" for answer in answers)
    assert broken > 0
    assert f"emptied {broken} that broke the challenge's format rule" in said


def test_answers_as_json_belong_to_questions(challenge, predicted):
    rows, _ = predicted("shapes-1", "predictions.json", overrides=challenge)
    assert rows == [{"question_id": id, "answer": ""} for id in (4, 6, 5)]


def test_without_data_a_folder_says_what_is_missing(swept, refused):
    code, error = refused(str(swept[0].best_adapter("trial-000")))
    assert (code, error.count("\n")) == (1, 1)
    assert "name a sweep file that does with --data" in error


def test_another_base_than_the_adapters_is_noted(swept, folder, predicted):
    adapter = folder / "moved"
    shutil.copytree(swept[0].best_adapter("trial-000"), adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "some/base"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    _, said = predicted("moved", data="shapes-1")
    assert "note: the adapter was trained on some/base, not on " in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["shapes-2"], 1, "no sweep 'shapes-2' in "),
        (["shapes-2"], 1, "there are shapes-1\n"),
        (["no/folder"], 1, "there is no folder no/folder"),
        (["."], 1, "must be an adapter saved by peft; it has no adapter_config.json"),
        (["models:/shapes-captioner/7"], 1, "has versions 1 and aliases @challenger, @champion"),
        (["models:/shapes-captioner@best"], 1, "no models:/shapes-captioner@best in "),
        (["models:/shapes"], 1, "a model must be models:/NAME@alias or models:/NAME/version"),
        (["models:/other@champion"], 1, "there are models shapes-captioner"),
        (["shapes-1", "--split", "tset"], 1, "--split must be one of train, validation, test"),
        (["shapes-1", "--out", "predictions.txt"], 1, "--out must end with .csv or .json"),
        (["shapes-1", "--out", "no/predictions.csv"], 1, "there is no folder no"),
        (["shapes-1", "--data", "no.yaml"], 1, "no file no.yaml"),
        (["shapes-1", "--beams", "0"], 2, "evaluate.final_beams  must be a whole number of at"),
        (["shapes-1", "--set", "data.pth=x"], 2, "did you mean data.path?"),
        (["shapes-1", "--set", "data.split={train: 0.5, validation: 0.5, test: 0}"], 1,
         "--split test of data.path None is empty (train 12, validation 12, test 0)"),
    ],
)  # fmt: skip
def test_what_a_person_can_fix_is_one_line(refused, arguments, code, said):
    ended, error = refused(*arguments)
    line, *more = error.splitlines()
    assert (ended, said in f"{line}\n") == (code, True), error
    assert more in ([], ["1 problem; nothing was started"])


def test_without_a_store_no_model_is_found_and_none_is_made(folder, swept, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sweeps", "predict", "models:/shapes@champion"])
    with pytest.raises(SystemExit):
        app.main()
    assert "no model is registered in " in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_all_problems_of_overrides_are_told_at_once(swept):
    with pytest.raises(SpecError) as error:
        override_recipe(swept[1], ["train.epochs=0", "oops", "data.limit=many"])
    assert len(error.value.issues) == 3


def test_progress_is_a_few_lines_in_a_log(capsys):
    console = Console(width=80, highlight=False)
    assert list(with_progress(iter(range(250)), 250, console)) == list(range(250))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"predicted {done} of 250" for done in range(25, 251, 25)]


def test_progress_is_a_bar_in_a_terminal(capsys):
    console = Console(width=80, force_terminal=True)
    assert list(with_progress(iter(range(5)), 5, console)) == list(range(5))
    assert "predicted" not in capsys.readouterr().out
