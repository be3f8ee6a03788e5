"""Records the table that searches are replayed on: a full factorial of the quick start's space.

Every point is trained to its last epoch without any pruning, in one process and without Ray.
One JSON line per trial is appended to ``table.jsonl`` as soon as it is over, so the recording
can be interrupted and started again; a trial that is on record is not trained again.

    python -m benchmarks.record_table
"""

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sweeps
from benchmarks.recorded import TABLE
from sweeps.spec.load import load
from workers.host.host import Host
from workers.recipe import Recipe

QUICK_START = Path(sweeps.__file__).parent / "recipes" / "quickstart.yaml"
OVERRIDES = (
    "quantization=none",  # one base is enough here
    "evaluate.metrics=[cider, bleu, rouge_l, exact_match]",  # METEOR is slow and decides nothing
)
RATES = 8
LOWEST, HIGHEST = 3e-4, 5e-2
"""Ends of the quick start's learning rates."""
LEVELS: Mapping[str, tuple[Any, ...]] = {
    "train.learning_rate": tuple(
        float(f"{LOWEST * (HIGHEST / LOWEST) ** (i / (RATES - 1)):.2g}") for i in range(RATES)
    ),
    "adapter.rank": (2, 4, 16),
    "adapter.alpha": (8.0, 32.0),
    "adapter.targets": ("text", "text_all"),
    "adapter.dropout": (0.0, 0.1),
    "train.batch_size": (8, 16),
}
LAST = "adapter.rank"
"""The levels of this field are recorded one after the other, those in between at the end."""
KEPT = ("val/loss", "val/cider", "val/bleu_4", "val/exact_match")
PACKAGES = ("torch", "transformers", "peft", "pycocoevalcap")

Point = dict[str, Any]


def points(seed: int = 0) -> list[Point]:
    """Return all points of the factorial in the order of recording: shuffled."""
    every = [
        dict(zip(LEVELS, values, strict=True)) for values in itertools.product(*LEVELS.values())
    ]
    random.Random(seed).shuffle(every)
    ends = (LEVELS[LAST][0], LEVELS[LAST][-1])
    return sorted(every, key=lambda point: point[LAST] not in ends)


def trained(host: Host, recipe: Recipe) -> Iterator[dict[str, float]]:
    """Train one recipe to its end and yield what is kept of each rung, rung 0 included."""
    report = host.admit("trial", recipe)
    try:
        yield _kept(report.metrics, report.seconds)
        while not report.finished:
            report = host.advance("trial")
            yield _kept(report.metrics, report.seconds)
    finally:
        host.evict("trial")


def recorded(table: Path) -> set[str]:
    """Return the points on record, as keys."""
    if not table.exists():
        return set()
    lines = map(json.loads, table.read_text().splitlines()[1:])
    return {_key(line["point"]) for line in lines}


def header(recipe: Recipe) -> dict[str, Any]:
    """Return what the table was recorded from: all settings, levels and versions."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "levels": LEVELS,
        "rungs": "0 (the base itself) to the last epoch, in this order",
        "versions": {package: version(package) for package in PACKAGES},
    }


def _kept(metrics: Mapping[str, float], seconds: float) -> dict[str, float]:
    values = {name.removeprefix("val/"): round(metrics[name], 5) for name in KEPT}
    return {**values, "seconds": round(seconds, 2)}


def _key(point: Point) -> str:
    return json.dumps(point, sort_keys=True)


def _line(recipe: Recipe, host: Host, point: Point) -> dict[str, Any]:
    """Train a point; a loss that leaves the finite numbers ends its rungs early."""
    rungs: list[dict[str, float]] = []
    failure: dict[str, str] = {}
    try:
        for rung in trained(host, recipe.with_point(point)):
            rungs.append(rung)  # one by one: those before a failure are kept
    except ArithmeticError as error:
        failure = {"failed": str(error)}
    names = (*(name.removeprefix("val/") for name in KEPT), "seconds")
    columns = {name: [rung[name] for rung in rungs] for name in names}
    return {"point": point, **columns, **failure}


def record(table: Path = TABLE) -> None:
    """Train every point that is not on record yet and append it."""
    recipe = load(QUICK_START, OVERRIDES).recipe
    if not table.exists():
        table.write_text(json.dumps(header(recipe)) + "\n")
    done, every = recorded(table), points()
    host = Host(device="cpu", threads=1)
    try:
        for point in every:
            if _key(point) not in done:
                line = json.dumps(_line(recipe, host, point))
                with table.open("a") as file:
                    file.write(line + "\n")
    finally:
        host.close()


if __name__ == "__main__":
    record()
