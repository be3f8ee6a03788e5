"""The leaderboard of a sweep in MLflow's own UI: a saved view and the links that open it.

MLflow keeps a saved view as a tag of the experiment. The format is its UI's own business and
not documented. Where the installed UI lacks a word of it, no view is saved, and the links open the
plain list of runs.
"""

import base64
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from sweeps.board.standings import FRONT, INTERVAL, VS_BEST
from sweeps.spec import plugins
from sweeps.spec.load import Sweep
from sweeps.spec.objectives import LOSS
from sweeps.tracking.client import children_of, now
from sweeps.tracking.sweep_run import SweepRun
from sweeps.tracking.trial_run import EXAMPLE_IMAGES, LINEAGE
from workers.measures import reported_as
from workers.redaction import redact

EMBEDDED_UI = "http://127.0.0.1:5000"
"""Where the UI on the embedded store is served."""

FORMAT = frozenset(
    b"viewStateShareKey mlflow.sharedViewState. deflate; workflowType compareRunsMode CHART"
    b" ARTIFACT searchFilter orderByKey orderByAsc selectedColumns runsHiddenMode FIRST_20_RUNS"
    b" hideEmptyCharts isAccordionReordered compareRunSections compareRunCharts uuid name display"
    b" isReordered deleted isGenerated columns cardHeight type metricSectionId displayName"
    b" runsCountToCompare PARALLEL selectedParams selectedMetrics showAllRuns LINE metricKey"
    b" useGlobalXaxisKey xAxisKey scaleType xAxisScaleType lineSmoothness IMAGE imageKeys step"
    b" showRunParams".split()
)
"""The words of the format, which a UI that reads it has in its code."""
_SECTIONS = {"Search": 1, "Curves": 3, "Captions": 1}  # of the charts page, with their columns


@dataclass(frozen=True, kw_only=True)
class Links:
    """Addresses of a sweep's pages in MLflow's UI."""

    leaderboard: str
    """Table of trials, best first, with swept parameters and best metrics."""
    charts: str
    """Parallel coordinates, curves over the rungs, example images."""
    predictions: str
    """The trials' captions side by side."""
    sweep: str
    """The sweep's own run: its file, its note."""
    model: str | None
    """The registered model; None when nothing is registered."""


@cache
def ui_reads_views() -> bool:
    """Whether the UI of the installed MLflow knows the format; looking takes 0.1 s."""
    unseen = set(FORMAT)
    for file in Path(str(distribution("mlflow").locate_file("mlflow/server/js"))).rglob("*.js"):
        code = file.read_bytes()
        unseen = {word for word in unseen if word not in code}
        if not unseen:
            return True
    return False


def is_saved(sweep: Sweep) -> bool:
    """Whether a sweep has a saved view. What UI a server has cannot be seen from here."""
    return sweep.tracking.uri is not None or ui_reads_views()


def publish(sweep: Sweep, parent: SweepRun) -> None:
    """Save the view of the trials of a sweep, whose run is `parent`: its columns and charts."""
    search = sweep.search
    tags = [FRONT] if len(search.objectives) > 1 else []
    tags += ["trial.violates"] if search.constraints else []
    tags += [LINEAGE] if plugins.scheduler(sweep.schedule.name).CHANGES else []
    publish_view(
        parent,
        list(search.space),
        logarithmic=sweep.logarithmic_fields(),
        objective=search.objective.metric,
        mode=search.objective.mode,
        metrics=list(dict.fromkeys([*search.quantities, *sweep.outputs()]))[1:],
        conditional=[path for path, domain in search.space.items() if domain.when],
        examples={f"examples/{number}": sweep.train.epochs for number in range(EXAMPLE_IMAGES)},
        tags=tags,
    )


def publish_view(
    parent: SweepRun,
    params: Sequence[str],
    *,
    logarithmic: Collection[str] = (),
    objective: str,
    mode: str = "max",
    metrics: Sequence[str] = (),
    conditional: Collection[str] = (),
    examples: Mapping[str, int] = MappingProxyType({}),
    tags: Sequence[str] = (),
) -> str:
    """Save the sweep's leaderboard view, in place of an earlier one, and return its key.

    `params` are the swept fields in the order of the columns, `logarithmic` those of them
    whose axis is logarithmic, `metrics` the names of the columns after the objective
    (``bleu4``, ``rouge_l``). `conditional` names the fields that only some trials have: they
    are columns but no axes, because the chart leaves out a trial that lacks an axis.
    `examples` are keys of logged images with the step to show, `tags` further tags of trials to
    show.
    """
    common = [name for name in params if name not in conditional]
    axes = [f"{name}_log10" if name in logarithmic else name for name in common]
    state = {
        "searchFilter": children_of(parent.run_id),
        "orderByKey": _column("metrics", f"best/{objective}"),
        "orderByAsc": mode == "min",
        "selectedColumns": [
            *(_column("metrics", f"best/{name}") for name in (objective, *metrics)),
            *(_column("params", name) for name in params),
            _column("metrics", "best/rung"),
            *(_column("tags", name) for name in (*tags, VS_BEST, INTERVAL, "trial.state")),
            _column("attributes", "Duration"),
        ],
        "runsHiddenMode": "FIRST_20_RUNS",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunSections": _sections(),
        "compareRunCharts": _charts(axes, [objective, *metrics], examples),
    }
    created = now()
    view = {
        "name": f"Leaderboard {parent.sweep_id}",
        "createdAt": created,
        "updatedAt": created,
        "state": "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode(),
    }
    key = f"mlflow.sharedViewState.{parent.run_id}"
    parent.log(view={"key": key, "text": json.dumps(view)})
    return parent.run_id


def links(
    base_url: str,
    experiment_id: str,
    parent_run_id: str,
    model: str | None = None,
    *,
    saved_view: bool = True,
) -> Links:
    """Return the addresses of the sweep's pages below `base_url`; empty is within the UI itself.

    Without a saved view they show the experiment as the UI does by default.
    """
    ui = f"{base_url.rstrip('/')}/#" if base_url else "#"
    runs = f"{ui}/experiments/{experiment_id}/runs"
    kind = {"workflowType": "machine_learning"}  # without it the UI opens a page for traces
    view = {**kind, "viewStateShareKey": parent_run_id} if saved_view else kind
    return Links(
        leaderboard=_address(runs, view),
        charts=_address(runs, {**view, "compareRunsMode": "CHART"}),
        predictions=_address(runs, {**view, "compareRunsMode": "ARTIFACT"}),
        sweep=_address(f"{runs}/{parent_run_id}", kind),
        model=_address(f"{ui}/models/{quote(model, safe='')}", kind) if model else None,
    )


def sweep_links(
    parent: SweepRun, sweep: Sweep, model: str | None, base_url: str | None = None
) -> Links:
    """Return the addresses of a sweep's pages below `base_url`, or where its UI is served."""
    return links(
        redact(sweep.tracking.uri or EMBEDDED_UI) if base_url is None else base_url,
        parent.experiment_id,
        parent.run_id,
        model,
        saved_view=is_saved(sweep),
    )


def _address(page: str, query: dict[str, str]) -> str:
    return f"{page}?{urlencode(query, quote_via=quote)}"


def _column(kind: str, name: str) -> str:
    """Return how the UI names a column."""
    return f"{kind}.`{name}`"


def _sections() -> list[dict[str, Any]]:
    """Return the sections of the charts page; the UI adds one for each other metric prefix."""
    return [
        {
            "uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False,
            "isGenerated": False, "columns": columns, "cardHeight": 400,
        }
        for name, columns in _SECTIONS.items()
    ]  # fmt: skip


def _charts(
    axes: Sequence[str], metrics: Sequence[str], examples: Mapping[str, int]
) -> list[dict[str, Any]]:
    parallel = _chart(
        "PARALLEL", "Search", f"Parameters and {metrics[0]}",
        selectedParams=list(axes), selectedMetrics=[f"best/{metrics[0]}"], showAllRuns=True,
    )  # fmt: skip
    curves = [
        _chart("LINE", "Curves", key, metricKey=key, useGlobalXaxisKey=True, xAxisKey="step",
               scaleType="linear", xAxisScaleType="linear", lineSmoothness=0)
        for key in dict.fromkeys([*map(reported_as, metrics), reported_as(LOSS), "train/loss"])
    ]  # fmt: skip
    images = [
        _chart("IMAGE", "Captions", key, imageKeys=[key], step=step, showRunParams=False)
        for key, step in examples.items()
    ]
    return [parallel, *curves, *images]


def _chart(kind: str, section: str, title: str, **settings: Any) -> dict[str, Any]:
    return {
        "type": kind, "uuid": title, "metricSectionId": section, "displayName": title,
        "deleted": False, "isGenerated": False, "runsCountToCompare": 10, **settings,
    }  # fmt: skip
