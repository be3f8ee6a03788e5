"""(g) How long captions take: per token, at few and many rows, with one adapter and with many."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.gpu import cuda
from benchmarks.gpu.profile import profiled
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.trials import RANKS, examples, filled_pack, load, recipes, samples, small_recipe
from workers.evaluation.evaluator import Evaluator
from workers.features.store import Store
from workers.recipe import Evaluate

CASES: Sequence[tuple[int, int]] = ((1, 16), (16, 16), (1, 256), (16, 256))
"""Slots, images in a batch."""
LENGTHS = (4, 8, 24)
"""Tokens of a caption. The difference of two lengths is what the tokens alone take: not the image
encoder, nor the pass over the prompt."""


def measure(setting: Setting, results: Results) -> None:
    """Write captions with packs, those of 16 slots of mixed ranks, until they are this long.

    Random weights hardly ever end a text, and a batch ends with the last of its texts.
    """
    base = load(setting, small_recipe(setting))
    store, data = Store.of(base), examples(base, samples(4))
    nobody: Any = None  # these captions are not scored

    def evaluator(images: int, tokens: int) -> Evaluator:
        evaluate = Evaluate(batch_size=images, max_new_tokens=tokens)
        return Evaluator(base, samples(images, pixels=64), nobody, evaluate, None, store)

    short, middle, long = LENGTHS
    for slots, images in setting.size(CASES, ((2, 4),)):
        own = recipes(setting, slots, RANKS if slots > 1 else (16,))
        write = partial(filled_pack(base, own, data).predict, list(own), beams=1)
        works = [partial(write, evaluator=evaluator(images, tokens)) for tokens in LENGTHS]
        quick, slow = _seconds(works[0]), _seconds(works[2])
        few, more = profiled(works[0], 1), profiled(works[1], 1)
        results.row(
            "Writing captions with one beam",
            slots=slots,
            images=images,
            rows=slots * images,
            **{
                "ms per token": (slow - quick) / (long - short) * 1e3,
                f"s for {long} tokens": slow,
                "captions/s": slots * images / slow,
                "kernels per token": (more.kernels - few.kernels) / (middle - short),
                "waits per token": (more.waits - few.waits) / (middle - short),
                "GPU ms per token": (more.seconds - few.seconds) / (middle - short) * 1e3,
            },
        )


def _seconds(work: Callable[[], object]) -> float:
    """Return the seconds of the second of two calls: in the first kernels are chosen."""
    work()
    cuda.synchronize()
    started = time.perf_counter()
    work()
    cuda.synchronize()
    return time.perf_counter() - started
