"""One adapter per process, trained by a plain loop: what packing must beat.

As fast as a single trial gets: kept vision features, logits at labels only, one flat fused AdamW.
"""

import time
from typing import Any

import torch
from peft import get_peft_model
from torch.nn.functional import cross_entropy

from benchmarks.ladder.flat import Flat
from benchmarks.packing.case import Arguments, Case
from workers.adapters import lora_config
from workers.models import Base
from workers.recipe import Adapter


def train(base: Base, case: Case, data: list[Arguments], compiled: bool, go: Any) -> float:
    """Return the seconds that ``case.steps`` steps of one adapter take.

    `go` is called after the warm-up: processes that run at once begin the clock together.
    """
    adapter = Adapter(rank=case.rank, alpha=float(case.rank), dropout=case.dropout)
    model = get_peft_model(base.model, lora_config(adapter, base)).train()
    forward = torch.compile(model) if compiled else model
    flat = Flat(p for p in model.parameters() if p.requires_grad)
    optimizer = torch.optim.AdamW([flat.weights], lr=1e-4, weight_decay=0.0, fused=True)

    def steps(count: int) -> None:
        for number in range(count):
            arguments = dict(data[number % len(data)])
            targets = arguments.pop("targets")
            logits = forward(**arguments, use_cache=False).logits
            cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
            flat.clip(1.0)
            optimizer.step()
            flat.forget_gradient()

    steps(case.warmup)
    finish(case)
    go()
    started = time.perf_counter()
    steps(case.steps)
    finish(case)
    return time.perf_counter() - started


def finish(case: Case) -> None:
    """Wait for the device."""
    if case.device != "cpu":
        torch.cuda.synchronize()
