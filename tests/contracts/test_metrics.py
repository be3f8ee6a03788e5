"""What every metric of the catalog promises."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest

from workers.metrics.catalog import METRICS, outputs
from workers.metrics.metric import Array, Bound, Captions, Metric
from workers.recipe import Task

COLOURS = ("red", "blue", "green", "yellow")
THINGS = ("circle", "square", "star", "dog")
TOLERANCE = 1e-9

FORM_ONLY = {"valid_format", "distinct_captions", "length_ratio", "repetition"}
"""Metrics that look at form alone, whatever the words of the references are."""

EMPTY = {
    "word_error_rate": 1.0,  # every word is missing
    "valid_format": 1.0,
    "distinct_captions": 1 / 16,
    "repetition": 0.0,
}
"""What empty captions score, where it is not the worst of the range."""


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


Scores = tuple[dict[str, float], dict[str, Array], Array]
Score = Callable[[Metric, Captions, Captions], Scores]


@pytest.fixture(scope="session")
def score() -> Iterator[Score]:
    """Score by a metric that stays bound: corpus, images, statistics."""
    bounds: dict[tuple[str, str], Bound] = {}
    with ExitStack() as sessions:

        def scored(metric: Metric, references: Captions, candidates: Captions) -> Scores:
            key = (metric.name, repr(references))
            if key not in bounds:
                bounds[key] = metric.bind(references, references)
                sessions.enter_context(bounds[key].session())
            statistics = bounds[key].rows(candidates)
            return *metric.finished(bounds[key], statistics), statistics

        yield scored


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


def test_yields_floats_under_the_declared_outputs(used: tuple[Metric, Texts], score: Score) -> None:
    metric, texts = used
    corpus, images, _ = score(metric, texts.references, texts.close)
    assert tuple(corpus) == tuple(images) == metric.outputs
    assert {type(value) for value in corpus.values()} == {float}
    assert {values.shape for values in images.values()} == {(len(texts.references),)}


@pytest.mark.parametrize("kind", TEXTS["vqa"].several)
def test_pools_sums_of_finite_statistics_into_its_scores(
    used: tuple[Metric, Texts], kind: str, score: Score
) -> None:
    metric, texts = used
    corpus, images, statistics = score(metric, texts.references, texts.several[kind])
    assert statistics.dtype == np.float64
    assert np.isfinite(statistics).all()
    pooled = metric.pool(statistics.sum(axis=0))
    for output in metric.outputs:
        assert pooled[output] == pytest.approx(corpus[output], abs=1e-12)
        assert metric.pool(statistics)[output] == pytest.approx(images[output], abs=1e-12)


def test_pools_many_sums_at_once(used: tuple[Metric, Texts], score: Score) -> None:
    metric, texts = used
    _, _, statistics = score(metric, texts.references, texts.close)
    sums = statistics[: 2 * (len(statistics) // 2)].reshape(2, -1, statistics.shape[1]).sum(axis=1)
    for output, values in metric.pool(sums).items():
        assert values.shape == (2,)
        for one, value in zip(sums, values, strict=True):
            assert metric.pool(one)[output] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("kind", TEXTS["vqa"].several)
def test_stays_in_range_and_no_better_than_perfect(
    used: tuple[Metric, Texts], kind: str, score: Score
) -> None:
    metric, texts = used
    best, _, _ = score(metric, texts.references, texts.perfect)
    corpus, images, _ = score(metric, texts.references, texts.several[kind])
    for output, value in corpus.items():
        assert 0.0 <= value <= metric.high + TOLERANCE
        assert (images[output] >= 0.0).all()
        assert (images[output] <= metric.high + TOLERANCE).all()
        if metric.direction:
            assert sign(metric) * value <= sign(metric) * best[output] + TOLERANCE


def test_tells_perfect_from_swapped(used: tuple[Metric, Texts], score: Score) -> None:
    metric, texts = used
    best, _, _ = score(metric, texts.references, texts.perfect)
    swapped, _, _ = score(metric, texts.references, texts.swapped)
    for output, value in swapped.items():
        worse = sign(metric) * value < sign(metric) * best[output]
        assert worse == (metric.name not in FORM_ONLY)


def test_empty_captions_score_worst(used: tuple[Metric, Texts], score: Score) -> None:
    metric, texts = used
    worst = EMPTY.get(metric.name, 0.0 if metric.direction != "min" else metric.high)
    corpus, _, _ = score(metric, texts.references, texts.empty)
    assert corpus == dict.fromkeys(metric.outputs, worst)


def test_an_empty_reference_is_met_by_an_empty_answer(metric: Metric) -> None:
    if "vqa" not in metric.tasks:
        return  # captions are not asked for nothing
    references, answers = {"a": [""], "b": ["5 volt"]}, {"a": [""], "b": ["5 volt"]}
    best = dict.fromkeys(metric.outputs, metric.high)
    assert metric.compute(references, answers) == best
    wrong = metric.compute(references, answers | {"a": ["6 volt"]})
    assert (wrong == best) == (metric.name in FORM_ONLY)


def test_statistics_of_an_image_are_its_own_if_they_say_so(
    used: tuple[Metric, Texts], score: Score
) -> None:
    """Scored in two parts, as those that are new among known ones, they are the same."""
    metric, texts = used
    repeated = dict(zip(texts.close, [next(iter(texts.close.values()))] * 16, strict=True))
    _, _, statistics = score(metric, texts.references, repeated)
    images = list(repeated)
    parts = [
        score(metric, texts.references, {image: repeated[image] for image in some})[2]
        for some in (images[1:3], images[:1], images[3:])
    ]
    together = np.concatenate([parts[1], parts[0], parts[2]])
    assert (together == statistics).all() == metric.alone


def test_is_deterministic_in_a_new_binding(used: tuple[Metric, Texts], score: Score) -> None:
    metric, texts = used
    first, _, _ = score(metric, texts.references, texts.close)
    assert score(metric, texts.references, texts.close)[0] == first
    assert metric.compute(texts.references, texts.close) == first


def test_order_of_images_does_not_matter(used: tuple[Metric, Texts], score: Score) -> None:
    metric, texts = used
    images = sorted(texts.references, key=lambda image: image[::-1])
    shuffled, _, _ = score(
        metric, texts.references, {image: texts.close[image] for image in images}
    )
    ordered, _, _ = score(metric, texts.references, texts.close)
    assert shuffled == pytest.approx(ordered, abs=1e-12)
