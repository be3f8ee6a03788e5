"""What every metric of the catalog promises."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import pytest

from workers.metrics.catalog import METRICS, outputs
from workers.metrics.metric import Captions, Metric
from workers.recipe import Task

COLOURS = ("red", "blue", "green", "yellow")
THINGS = ("circle", "square", "star", "dog")
TOLERANCE = 1e-9

FORM_ONLY = {"valid_format"}
"""Metrics that look at the form of an answer alone, whatever the references say."""


@dataclass(frozen=True)
class Texts:
    """References of one task, and candidates of all kinds for them."""

    references: Captions
    perfect: Captions
    close: Captions

    @property
    def swapped(self) -> Captions:
        """Each image with the perfect candidate of another one."""
        return dict(zip(self.perfect, reversed(self.perfect.values()), strict=True))

    @property
    def empty(self) -> Captions:
        return {image: [""] for image in self.references}

    @property
    def several(self) -> dict[str, Captions]:
        return {
            "perfect": self.perfect,
            "close": self.close,
            "swapped": self.swapped,
            "unrelated": {image: ["nothing fits here"] for image in self.references},
            "empty": self.empty,
            "one empty": self.perfect | dict(list(self.empty.items())[:1]),
        }


def _captions() -> Texts:
    references = {
        f"{colour}-{thing}": [
            f"a {colour} {thing} on a white page",
            f"there is one {thing} which is {colour}",
            f"the drawing shows a small {colour} {thing}",
        ]
        for colour in COLOURS
        for thing in THINGS
    }
    return Texts(
        references,
        perfect={image: [captions[1]] for image, captions in references.items()},
        close={image: [f"a {image.split('-')[0]} drawing of a cat"] for image in references},
    )


def _answers() -> Texts:
    references = {f"question {n}": [f"{n}.5 gram", f"{n}.50 gram"] for n in range(16)}
    return Texts(
        references,
        perfect={question: [answers[0]] for question, answers in references.items()},
        close={f"question {n}": [f"{n}.7 gram" if n % 2 else f"{n}.5 gram"] for n in range(16)},
    )


TEXTS: dict[Task, Texts] = {"captioning": _captions(), "vqa": _answers()}


@pytest.fixture(params=sorted(METRICS))
def metric(request: pytest.FixtureRequest) -> Metric:
    return METRICS[request.param]


@pytest.fixture(params=[(name, task) for name in sorted(METRICS) for task in METRICS[name].tasks],
                ids=" of ".join)  # fmt: skip
def used(request: pytest.FixtureRequest) -> tuple[Metric, Texts]:
    """A metric with the texts of one of its tasks."""
    name, task = request.param
    return METRICS[name], TEXTS[task]


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


def test_yields_floats_under_the_declared_outputs(used: tuple[Metric, Texts]) -> None:
    metric, texts = used
    scores = metric.compute(texts.references, texts.close)
    assert tuple(scores) == metric.outputs
    assert {type(value) for value in scores.values()} == {float}


@pytest.mark.parametrize("kind", TEXTS["vqa"].several)
def test_stays_in_range_and_no_better_than_perfect(used: tuple[Metric, Texts], kind: str) -> None:
    metric, texts = used
    best = metric.compute(texts.references, texts.perfect)
    for output, value in metric.compute(texts.references, texts.several[kind]).items():
        assert metric.low <= value <= metric.high + TOLERANCE
        assert sign(metric) * value <= sign(metric) * best[output] + TOLERANCE


def test_tells_perfect_from_swapped(used: tuple[Metric, Texts]) -> None:
    metric, texts = used
    best = metric.compute(texts.references, texts.perfect)
    for output, value in metric.compute(texts.references, texts.swapped).items():
        worse = sign(metric) * value < sign(metric) * best[output]
        assert worse == (metric.name not in FORM_ONLY)


def test_empty_captions_score_worst(used: tuple[Metric, Texts]) -> None:
    """The worst of the range; an error rate has no worst, but says that every word is missing."""
    metric, texts = used
    worst = metric.low if metric.direction == "max" else min(metric.high, 1.0)
    if metric.name in FORM_ONLY:
        worst = metric.high  # an empty answer is of the right form
    assert metric.compute(texts.references, texts.empty) == dict.fromkeys(metric.outputs, worst)


def test_an_empty_reference_is_met_by_an_empty_answer(metric: Metric) -> None:
    if "vqa" not in metric.tasks:
        assert metric.reads == "tokens"  # of which no reference is ever empty
        return
    references, answers = {"a": [""], "b": ["5 volt"]}, {"a": [""], "b": ["5 volt"]}
    best = dict.fromkeys(metric.outputs, metric.high)
    assert metric.compute(references, answers) == best
    wrong = metric.compute(references, answers | {"a": ["6 volt"]})
    assert (wrong == best) == (metric.name in FORM_ONLY)


def test_is_deterministic(used: tuple[Metric, Texts]) -> None:
    metric, texts = used
    first = metric.compute(texts.references, texts.close)
    assert metric.compute(texts.references, texts.close) == first


def test_order_of_images_does_not_matter(used: tuple[Metric, Texts]) -> None:
    metric, texts = used
    images = sorted(texts.references, key=lambda image: image[::-1])
    shuffled = metric.compute(
        {image: texts.references[image] for image in images},
        {image: texts.close[image] for image in images},
    )
    assert shuffled == pytest.approx(metric.compute(texts.references, texts.close), abs=1e-12)
