"""One scorer kept over all rounds beside the stock scorers composed anew in each."""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from benchmarks import stock, texts
from benchmarks.tables import corpus_difference, image_difference, print_table
from benchmarks.usage import Usage, java_peaks, javas, measured
from workers.files import cache
from workers.metrics.coco_caption import COCO
from workers.metrics.scorer import Scorer

COLUMNS = (
    *("round", "CPU s", "stock", "ratio", "wall s", "stock", "ratio"),
    *("corpus difference", "per image", "Java MiB", "stock"),
)


@dataclass(frozen=True, kw_only=True)
class Round:
    """One set of captions scored both ways."""

    fast: Usage
    plain: Usage
    corpus_difference: float
    image_difference: float
    fast_java: float
    """MiB at most, so far."""
    plain_java: float


def play(
    references: Mapping[str, Sequence[str]], rounds: int, share: float, draw: random.Random
) -> list[Round]:
    """Score `rounds` sets of captions, each with a `share` of the former one's changed.

    The first round has all that the scorer does once. Side-effect: `SWEEPS_CACHE` names a new
    folder, so that nothing is there from an earlier run.
    """
    with TemporaryDirectory() as folder:
        os.environ[cache.VARIABLE] = folder
        return _play(references, rounds, share, draw)


def _play(
    references: Mapping[str, Sequence[str]], rounds: int, share: float, draw: random.Random
) -> list[Round]:
    candidates = texts.guesses(references, draw)
    scorer: Scorer | None = None
    done = []
    for _ in range(rounds):
        with measured() as fast:
            scorer = scorer or Scorer(COCO, references)
            scored = scorer.score(candidates)
        peak = java_peaks(javas())
        with measured() as plain:
            expected = stock.score(references, candidates)
        done.append(
            Round(
                fast=fast,
                plain=plain,
                corpus_difference=corpus_difference(scored, expected),
                image_difference=image_difference(scored, expected),
                fast_java=peak,
                plain_java=expected.java_peak,
            )
        )
        candidates = texts.changed(candidates, references, share, draw)
    if scorer:
        scorer.close()
    return done


def show(done: Sequence[Round]) -> None:
    """Print the rounds, all of them together, and those after the first."""
    rows = [_row(str(number), [each]) for number, each in enumerate(done, 1)]
    print_table(
        COLUMNS, [*rows, _row("all", done), *([_row("2 on", done[1:])] if done[1:] else [])]
    )


def _row(name: str, part: Sequence[Round]) -> list[str]:
    def worst(of: Callable[[Round], float]) -> float:
        return max(map(of, part))

    return [
        name,
        *_beside(sum(each.fast.cpu for each in part), sum(each.plain.cpu for each in part)),
        *_beside(sum(each.fast.wall for each in part), sum(each.plain.wall for each in part)),
        f"{worst(lambda each: each.corpus_difference):g}",
        f"{worst(lambda each: each.image_difference):g}",
        f"{worst(lambda each: each.fast_java):.0f}",
        f"{worst(lambda each: each.plain_java):.0f}",
    ]


def _beside(fast: float, plain: float) -> tuple[str, str, str]:
    return f"{fast:.2f}", f"{plain:.2f}", f"{plain / fast:.1f}"
