"""What every metric of the catalog promises."""

from collections.abc import Iterator
from typing import get_args

import pytest

from workers.metrics.catalog import METRICS, outputs
from workers.metrics.metric import Captions, Metric
from workers.recipe import Task

COLOURS = ("red", "blue", "green", "yellow")
THINGS = ("circle", "square", "star", "dog")
TOLERANCE = 1e-9


def _references() -> Captions:
    return {
        f"{colour}-{thing}": [
            f"a {colour} {thing} on a white page",
            f"there is one {thing} which is {colour}",
            f"the drawing shows a small {colour} {thing}",
        ]
        for colour in COLOURS
        for thing in THINGS
    }


REFERENCES = _references()
PERFECT = {image: [captions[1]] for image, captions in REFERENCES.items()}
CLOSE = {image: [f"a {image.split('-')[0]} drawing of a cat"] for image in REFERENCES}
SWAPPED = dict(zip(PERFECT, reversed(PERFECT.values()), strict=True))
UNRELATED = {image: ["nothing fits here"] for image in REFERENCES}
EMPTY = {image: [""] for image in REFERENCES}
ONE_EMPTY = PERFECT | {"red-dog": [""]}


@pytest.fixture(params=sorted(METRICS))
def metric(request: pytest.FixtureRequest) -> Metric:
    return METRICS[request.param]


@pytest.fixture(scope="session", autouse=True)
def _sessions() -> Iterator[None]:
    with METRICS["meteor"].session():
        yield


def sign(metric: Metric) -> float:
    return 1.0 if metric.direction == "max" else -1.0


def test_is_filed_under_its_name(metric: Metric) -> None:
    assert METRICS[metric.name] is metric


def test_no_output_is_yielded_by_two_metrics() -> None:
    names = outputs(METRICS)
    assert len(set(names)) == len(names)


def test_is_for_known_tasks(metric: Metric) -> None:
    assert metric.tasks
    assert set(metric.tasks) <= set(get_args(Task))


def test_yields_floats_under_the_declared_outputs(metric: Metric) -> None:
    scores = metric.compute(REFERENCES, CLOSE)
    assert tuple(scores) == metric.outputs
    assert {type(value) for value in scores.values()} == {float}


@pytest.mark.parametrize(
    "candidates",
    [PERFECT, CLOSE, SWAPPED, UNRELATED, EMPTY, ONE_EMPTY],
    ids=["perfect", "close", "swapped", "unrelated", "empty", "one empty"],
)
def test_stays_in_range_and_no_better_than_perfect(metric: Metric, candidates: Captions) -> None:
    best = metric.compute(REFERENCES, PERFECT)
    for output, value in metric.compute(REFERENCES, candidates).items():
        assert metric.low <= value <= metric.high + TOLERANCE
        assert sign(metric) * value <= sign(metric) * best[output] + TOLERANCE


def test_tells_perfect_from_swapped(metric: Metric) -> None:
    best = metric.compute(REFERENCES, PERFECT)
    for output, value in metric.compute(REFERENCES, SWAPPED).items():
        assert sign(metric) * value < sign(metric) * best[output]


def test_empty_captions_score_worst(metric: Metric) -> None:
    """The worst of the range; an error rate has no worst, but says that every word is missing."""
    worst = metric.low if metric.direction == "max" else min(metric.high, 1.0)
    assert metric.compute(REFERENCES, EMPTY) == dict.fromkeys(metric.outputs, worst)


def test_is_deterministic(metric: Metric) -> None:
    assert metric.compute(REFERENCES, CLOSE) == metric.compute(REFERENCES, CLOSE)


def test_order_of_images_does_not_matter(metric: Metric) -> None:
    images = sorted(REFERENCES, key=lambda image: image[::-1])
    shuffled = metric.compute(
        {image: REFERENCES[image] for image in images}, {image: CLOSE[image] for image in images}
    )
    assert shuffled == pytest.approx(metric.compute(REFERENCES, CLOSE), abs=1e-12)
