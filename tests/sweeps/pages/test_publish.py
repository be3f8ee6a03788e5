"""A tracked sweep, reported to study, records and MLflow as hosts do it; its pages read back."""

import io
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from sweeps.board.handle import SweepHandle
from sweeps.board.standings import add_runs, add_standings
from sweeps.cli.board import write_report
from sweeps.pages.facts import gather
from sweeps.pages.report import html, publish
from sweeps.pages.summary import REPORT
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.results.scores_file import Captions, Scores
from sweeps.rung_result import RungResult
from sweeps.spec.load import dump, parse
from sweeps.study.searcher import OptunaBridge
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import NOTE, SweepRun
from tests.sweeps.published import PublishedTrial
from workers.report import Prediction, Report

FILE = """
name: made
model: {base: tiny:shapes}
data: {source: shapes}
evaluate: {metrics: [exact_match, word_error_rate]}
search:
  space:
    adapter.rank: {choice: [2, 4, 8]}
    train.learning_rate: {log_uniform: [1e-4, 1e-1]}
  sampler: {name: random, seed: 3}
  start: []
  objective: {metric: exact_match}
promote: {model: made-captioner}
"""
HITS = [3, 9, 6]  # images of 10 that a trial captions right


@pytest.fixture(scope="module")
def results(tmp_path_factory, empty_store, scored):
    """Folder of results with one sweep of three trials and two rungs, as if it had just ended."""
    root = tmp_path_factory.mktemp("results")
    shutil.copy(empty_store, root)
    sweep, folder = parse(FILE), SweepFolder.create(root, "made")
    folder.spec.write_text(dump(sweep))
    run = SweepRun.open(Tracking(uri=None, experiment="made", root=root), "made-1", "", {})
    bridge = OptunaBridge(sweep, folder)
    for hits in HITS:
        _trial(folder, run, bridge, scored([1.0] * hits + [0.0] * (10 - hits)))
    run.close("completed", best_trial="trial-001", best={}, note="as it was")
    return root


def _trial(folder, run, bridge, scored):
    point = bridge.suggest("x")["point"]
    name = f"trial-{len(run.trials()):03d}"
    trial = PublishedTrial.open(run, name, name, params=point, tags={})
    for rung in range(3):
        metrics = {f"val/{key}": value * rung / 2 for key, value in scored.corpus.items()}
        value = metrics["val/exact_match"]
        trial.log(rung=rung, metrics={**metrics, "val/loss": 3.0 - rung}, seconds=9.0)
        result = RungResult(
            rung=rung,
            objective=value,
            best=value,
            finished=rung == 2,
            metrics=metrics,
            seconds=9.0,
            time=0.0,
        )
        if rung:
            record.append(folder, name, result)
    trial.best(metrics, 2)
    trial.scores(Scores(references="same", best=Captions(beams=1, scored=scored)))
    run.close_trial(name, "completed")
    bridge.on_trial_complete("x", result.to_json())


@pytest.fixture
def earlier(results):
    return SweepHandle.find(results, "made-1")


@pytest.fixture
def published(earlier):
    """Publish the sweep's pages: what was printed."""
    written = io.StringIO()
    board = add_standings(earlier.run, earlier.board)
    publish(earlier.sweep, earlier.folder, earlier.run, board, Console(file=written, width=200))
    return written.getvalue()


def gathered(earlier, sweep=None):
    board = add_runs(earlier.run, earlier.board)
    return gather(sweep or earlier.sweep, earlier.folder, earlier.run, board)


def test_facts_are_those_of_study_records_and_runs(earlier):
    facts = gathered(earlier)
    assert facts.state == "completed"
    assert [trial.name for trial in facts.board.trials] == ["trial-001", "trial-002", "trial-000"]
    point = facts.points["trial-001"]
    assert isinstance(point["adapter.rank"], int)
    assert facts.board.trials[0].point == point
    assert list(facts.curves) == ["val/exact_match", "val/word_error_rate"]
    assert facts.curves["val/exact_match"]["trial-001"] == [(1, 0.45), (2, 0.9)]
    assert facts.base["val/exact_match"] == 0.0
    assert facts.base["val/loss"] == 3.0
    assert set(facts.importances) == set(facts.sweep.search.space)
    assert (facts.cost["epochs"], facts.cost["trials"]) == ("6", "3: 3 completed")
    assert facts.cost["time of all rungs"] == f"{6 * 9} s"
    assert "version.torch" in facts.origin


def test_the_note_has_verdict_links_cost_and_table(earlier, published):
    assert published == ""
    note = earlier.run.client.get_run(earlier.run.run_id).data.tags[NOTE]
    verdict, links, cost, *table = note.split("\n\n")
    assert verdict.startswith(
        f"**{earlier.board.winner.title} wins with exact_match 0.9000 (95 % interval "
    )
    assert links.startswith(f"[leaderboard](#/experiments/{earlier.run.experiment_id}/runs?")
    assert "(#/models/made-captioner" in links
    assert "epochs 6, trials 3: 3 completed" in cost
    assert f"| {earlier.board.winner.title} | completed | 0.9000 |" in "\n".join(table)


def test_plots_and_report_are_artifacts_of_the_sweep_s_run(earlier, published, tmp_path):
    client, run_id = earlier.run.client, earlier.run.run_id
    plots = {artifact.path for artifact in client.list_artifacts(run_id, "plots")}
    assert plots == {"plots/contour.png", "plots/importance.svg"}
    with open(client.download_artifacts(run_id, REPORT, tmp_path)) as file:
        assert f"{earlier.board.winner.title} wins with exact_match 0.9000" in file.read()


def test_a_page_that_cannot_be_made_is_a_warning_and_no_error(earlier):
    written = io.StringIO()
    elsewhere = replace(earlier.folder, sweep_id="made-9")  # there is no such folder
    elsewhere.path.mkdir()
    try:
        publish(earlier.sweep, elsewhere, earlier.run, earlier.board,
                Console(file=written, width=200))  # fmt: skip
    finally:
        shutil.rmtree(elsewhere.path)
    assert written.getvalue().startswith(
        "warning: no report of made-9 in MLflow: FileNotFoundError"
    )
    assert "sweep.yaml" in written.getvalue()


def test_the_command_writes_the_report_to_the_file_that_is_named(results, tmp_path):
    written = io.StringIO()
    out = tmp_path / "a report.html"
    write_report("made-1", out, results, Console(file=written, width=200))
    assert written.getvalue().startswith(f"wrote {out} (0.")
    text = out.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "http://127.0.0.1:5000/#/experiments" in text


def test_a_report_can_be_sent_around_without_a_password(earlier):
    tracked = earlier.sweep.tracking.model_copy(update={"uri": "https://me:secret@host:8443"})
    sweep = earlier.sweep.model_copy(update={"tracking": tracked})
    before = earlier.folder.spec.read_text()
    earlier.folder.spec.write_text(dump(sweep))
    try:
        facts = gathered(earlier, sweep)
        text = html(facts, earlier.folder, earlier.run)
    finally:
        earlier.folder.spec.write_text(before)
    assert "https://***@host:8443" in text
    assert "secret" not in text


def test_a_sweep_that_still_runs_has_a_report(results, earlier, tmp_path):
    client, run_id = earlier.run.client, earlier.run.run_id
    client.set_tag(run_id, "sweep.state", "running")
    try:
        write_report("made-1", tmp_path / "now.html", results, Console(file=io.StringIO()))
    finally:
        client.set_tag(run_id, "sweep.state", "completed")
    text = (tmp_path / "now.html").read_text(encoding="utf-8")
    assert f"{earlier.board.winner.title} leads with" in text


def test_captions_of_the_best_trials_come_with_their_scores(earlier):
    for number, name in enumerate(["trial-001", "trial-000"]):
        captions = [
            Prediction(image_id=f"image-{n}", caption=f"{name} {n}", references=("ref",))
            for n in range(10)
        ]
        _keep_captions(earlier.folder.best_adapter(name), captions, number)
    facts = gathered(earlier)
    gains = facts.gallery.groups["Where trial-001 gains most over trial-000"]
    assert facts.gallery.metric == "exact_match"
    assert gains[0].captions == (
        ("trial-001", "trial-001 3", 1.0),
        ("trial-000", "trial-000 3", 0.0),
    )


def _keep_captions(folder, captions, rung):
    from sweeps.results import best
    from sweeps.results.best import Best

    folder.parent.mkdir(parents=True, exist_ok=True)
    report = Report(rung=rung, metrics={}, finished=True, seconds=1.0, predictions=tuple(captions))
    best.keep(folder, Best(value=0.0, rung=rung, metrics={}), report, lambda path: path.mkdir())
