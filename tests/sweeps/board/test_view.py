"""The saved view and the links, held against MLflow's own UI code and a real store."""

import base64
import json
import zlib
from urllib.parse import parse_qs, urlsplit

import pytest

from sweeps.board.view import EMBEDDED_UI, FORMAT, links, publish_view, ui_reads_views
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial

PARAMS = ["adapter.rank", "train.learning_rate", "quantization", "nf4.double"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    root = tmp_path_factory.mktemp("view") / "sweep-results"
    run = SweepRun.open(Tracking(uri=None, experiment="shapes", root=root), "shapes-1", "", {})
    for number, cider in enumerate([0.5, 1.5, 1.0]):
        name = f"trial-{number:03d}"
        params = {"adapter.rank": number, "train.learning_rate": 10.0**-number}
        trial = PublishedTrial.open(
            run, name, name,
            params=params, logarithmic=["train.learning_rate"], tags={},
        )  # fmt: skip
        trial.best({"val/cider": cider}, 2)
    return run


@pytest.fixture(scope="module")
def key(sweep):
    return publish(sweep)


def publish(sweep, **changes):
    settings = {
        "logarithmic": ["train.learning_rate"],
        "objective": "cider",
        "metrics": ["bleu4"],
        "conditional": ["nf4.double"],
        "examples": {"examples/0": 6},
        **changes,
    }
    return publish_view(sweep, PARAMS, **settings)


def view(sweep, key):
    tags = sweep.client.get_experiment(sweep.experiment_id).tags
    return json.loads(tags[f"mlflow.sharedViewState.{key}"])


def state(sweep, key):
    """Unpack as the UI does: base64 of zlib behind a header."""
    header, packed = view(sweep, key)["state"].split(";")
    assert header == "deflate"
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def found(sweep, query):
    """Search as the runs page of that address does; return the trials in its order."""
    order = "ASC" if query["orderByAsc"] in ("true", True) else "DESC"
    runs = sweep.client.search_runs(
        [sweep.experiment_id], query["searchFilter"], order_by=[f"{query['orderByKey']} {order}"]
    )
    return [run.data.tags["trial.id"] for run in runs]


def charts(state, kind):
    return [chart for chart in state["compareRunCharts"] if chart["type"] == kind]


def query_of(address):
    page, _, query = urlsplit(address).fragment.partition("?")
    return page, {name: values[0] for name, values in parse_qs(query).items()}


def test_the_envelope_is_as_the_ui_wants_it(sweep, key):
    envelope = view(sweep, key)
    assert envelope["name"] == "Leaderboard shapes-1"
    assert isinstance(envelope["createdAt"], int)
    assert len(json.dumps(envelope)) < 20_000


def test_the_view_lists_only_trials_best_first(sweep, key):
    assert found(sweep, state(sweep, key)) == ["trial-001", "trial-002", "trial-000"]
    assert found(sweep, state(sweep, publish(sweep, mode="min"))) == [
        "trial-000", "trial-002", "trial-001",
    ]  # fmt: skip
    publish(sweep)


def test_the_columns_are_scores_and_swept_fields(sweep, key):
    columns = state(sweep, key)["selectedColumns"]
    assert columns[:2] == ["metrics.`best/cider`", "metrics.`best/bleu4`"]
    assert [f"params.`{name}`" for name in PARAMS] == columns[2:6]
    assert {"tags.`trial.vs_best`", "tags.`trial.interval`"} <= set(columns)


def test_parallel_coordinates_lead_from_the_point_to_the_objective(sweep, key):
    (chart,) = charts(state(sweep, key), "PARALLEL")
    assert chart["selectedParams"] == ["adapter.rank", "train.learning_rate_log10", "quantization"]
    assert chart["selectedMetrics"] == ["best/cider"]
    run = sweep.trials()[0]
    assert "train.learning_rate_log10" in run.data.params


def test_curves_and_images_are_shown(sweep, key):
    curves = charts(state(sweep, key), "LINE")
    assert [chart["metricKey"] for chart in curves] == [
        "val/cider", "val/bleu4", "val/loss", "train/loss",
    ]  # fmt: skip
    (images,) = charts(state(sweep, key), "IMAGE")
    assert (images["imageKeys"], images["step"]) == (["examples/0"], 6)


def test_every_chart_has_its_own_id_in_a_section_that_exists(sweep, key):
    view = state(sweep, key)
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == sections
    ids = [chart["uuid"] for chart in view["compareRunCharts"]]
    assert len(set(ids)) == len(ids)


def test_what_is_measured_has_its_curve_and_the_loss_has_one_only(sweep, key):
    view = state(sweep, publish(sweep, objective="loss", metrics=["latency_ms"]))
    curves = [chart["metricKey"] for chart in charts(view, "LINE")]
    assert curves == ["val/loss", "measured/latency_ms", "train/loss"]
    publish(sweep)


def test_publishing_again_replaces_the_view(sweep, key):
    assert publish(sweep, metrics=["bleu4", "meteor"]) == key
    assert "metrics.`best/meteor`" in state(sweep, key)["selectedColumns"]
    tags = sweep.client.get_experiment(sweep.experiment_id).tags
    assert sum(name.startswith("mlflow.sharedViewState.") for name in tags) == 1


def test_links_lead_to_the_pages(sweep, key):
    made = links(f"{EMBEDDED_UI}/", sweep.experiment_id, sweep.run_id, "a/b c")
    runs = f"/experiments/{sweep.experiment_id}/runs"
    shared = {"workflowType": "machine_learning", "viewStateShareKey": key}
    assert query_of(made.leaderboard) == (runs, shared)
    assert query_of(made.charts) == (runs, {**shared, "compareRunsMode": "CHART"})
    assert query_of(made.predictions) == (runs, {**shared, "compareRunsMode": "ARTIFACT"})
    assert query_of(made.sweep)[0] == f"{runs}/{sweep.run_id}"
    assert made.model == ("http://127.0.0.1:5000/#/models/a%2Fb%20c?workflowType=machine_learning")


def test_links_without_a_saved_view_open_the_runs(sweep):
    made = links("", sweep.experiment_id, sweep.run_id, saved_view=False)
    assert query_of(made.charts)[1] == {
        "workflowType": "machine_learning", "compareRunsMode": "CHART",
    }  # fmt: skip


def test_the_installed_ui_knows_the_format(sweep, key):
    """The format is not documented: a new MLflow that drops a word of it must be noticed."""
    view = state(sweep, key)
    entries = [*view["compareRunCharts"], *view["compareRunSections"]]
    words = view.keys() | {chart["type"] for chart in view["compareRunCharts"]}
    assert {word.encode() for word in words.union(*entries)} <= FORMAT
    assert ui_reads_views()
