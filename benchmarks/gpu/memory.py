"""(e), (f) Memory: estimated beside measured, and what happens when it runs out."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch

from benchmarks.gpu import cuda
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.trials import (
    examples,
    filled_pack,
    host,
    load,
    one_rung,
    recipes,
    samples,
    small_recipe,
)
from workers.memory import errors
from workers.memory.footprint import GPU_CONTEXT, estimate
from workers.memory.layers import Architecture
from workers.models import checkpoint_files

CASES: Sequence[tuple[int, int, int]] = ((1, 8, 16), (16, 8, 16), (16, 2, 64), (8, 8, 17))
"""Slots, rows of each, rank."""
CAPTION = "a red circle on a green square beside a small blue one " * 2
LEFT = 0.4
"""Share of what a rung's steps and captions take that is left for them."""
PEAK = "measured/peak_memory_gb"


def measure(setting: Setting, results: Results) -> None:
    """Compare the estimate of packs with what torch has allocated."""
    if setting.rehearsal:
        results.note("nothing tells how much a CPU's tensors take: all that is measured is 0")
    base = load(setting, small_recipe(setting))
    files = checkpoint_files.find(str(setting.checkpoint), None)
    assert files
    architecture = Architecture.of(files)
    loaded = cuda.allocated()
    some = [replace(sample, captions=(CAPTION,)) for sample in samples(64, pixels=64)]
    learned = len(base.tokens(CAPTION)) + 1
    data = examples(base, some)
    kept = cuda.allocated() - loaded
    for slots, rows, rank in setting.size(CASES, ((2, 2, 16),)):
        errors.release()  # the pack before
        before = cuda.allocated()
        own = recipes(
            setting, slots, (rank,), train__batch_size=rows, evaluate__max_new_tokens=learned
        )
        pack = filled_pack(base, own, data)
        pack.step()
        pack.step()
        held = cuda.allocated()
        cuda.forget_peak()
        pack.step()
        cuda.synchronize()
        one = estimate(own["trial-0"], architecture, gpu=True, rows=rows)
        every = one.times(slots)
        step = cuda.peak() - held
        results.row(
            "MB estimated and measured",
            slots=slots,
            rows=rows,
            rank=rank,
            **{
                "base": one.base / 1e6,
                "base, measured": loaded / 1e6,
                "adapters": every.adapter / 1e6,
                "adapters, measured": (held - before) / 1e6,
                "step": every.step / 1e6,
                "step, measured": step / 1e6,
                "step, ratio": every.step / step if step else 0.0,
            },
        )
        del pack
    results.note(f"kept features of {len(some)} images: {kept / 1e6:.0f} MB")
    if not setting.rehearsal:
        free, total = torch.cuda.mem_get_info()
        context = total - free - torch.cuda.memory_reserved()
        results.note(
            f"CUDA's context and libraries: {context / 1e6:.0f} MB of the device are in use "
            f"outside of torch's memory, {GPU_CONTEXT / 1e6:.0f} MB are expected"
        )


def measure_retreat(setting: Setting, results: Results) -> None:
    """Train a rung on a host with enough memory, then the same rung with too little of it."""
    rows = setting.size(32, 4)
    own = recipes(setting, 4, (16, 64), train__batch_size=rows, train__epochs=2)
    enough = host(setting)
    for name, recipe in own.items():
        enough.admit(name, recipe)
    held = cuda.allocated()
    undisturbed = one_rung(enough, own)
    peaks = [each.report.metrics.get(PEAK, 0.0) for each in undisturbed.values() if each.report]
    enough.close()
    del enough
    errors.release()

    scarce = host(setting)
    for name, recipe in own.items():
        scarce.admit(name, recipe)
    left = LEFT * (max(peaks) * 1e9 - held)
    with _rows_of_passes(setting, most=setting.size(None, rows // 2)) as passes, _limited(left):
        disturbed = one_rung(scarce, own)
    for name, recipe in own.items():
        before, after = undisturbed[name].report, disturbed[name].report
        results.row(
            f"A rung with {LEFT:.0%} of the memory that its steps and captions take",
            trial=name,
            rank=recipe.adapter.rank,
            **{
                "train/loss": f"{before.metrics['train/loss']:.6f}" if before else "none",
                "with too little": f"{after.metrics['train/loss']:.6f}" if after else "none",
                "error": f"{disturbed[name].error or ''}".partition("\n")[0],
            },
        )
    results.note(f"rows of its passes, those that ran out of memory included: {_runs(passes)}")
    others = {name: own[name] for name, done in disturbed.items() if done.report}
    with _rows_of_passes(setting) as passes:
        recovered = one_rung(scarce, others)
    failed = sum(each.error is not None for each in recovered.values())
    results.note(
        f"the next rung, with all memory again: {failed} of {len(others)} trials failed; rows of "
        f"its passes: {_runs(passes)}"
    )
    scarce.close()


@contextmanager
def _rows_of_passes(setting: Setting, most: int | None = None) -> Iterator[list[int]]:
    """Collect the rows of every pass of training; with more than `most` it is out of memory."""
    config = json.loads((setting.checkpoint / "config.json").read_text())
    found: list[int] = []

    def see(module: torch.nn.Module, given: Any) -> None:
        if not (isinstance(module, torch.nn.Embedding) and module.training):
            return
        if module.num_embeddings == config["vocab_size"]:  # that of tokens
            found.append(len(given[0]))
            if most and found[-1] > most:
                raise torch.OutOfMemoryError("refused, as in a rehearsal")

    handle = torch.nn.modules.module.register_module_forward_pre_hook(see)
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def _limited(left: float) -> Iterator[None]:
    """Leave torch so many bytes of a GPU beside those that it holds."""
    if not torch.cuda.is_available():
        yield
        return
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + left) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _runs(rows: Sequence[int]) -> str:
    """Return numbers in words, neighbours that are equal together."""
    runs = [(size, len(list(run))) for size, run in groupby(rows)]
    return ", ".join(f"{size} ({times} times)" if times > 1 else f"{size}" for size, times in runs)
