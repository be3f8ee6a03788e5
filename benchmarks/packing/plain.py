"""One adapter trained by a plain loop of peft and torch: what packing must beat.

As fast as a single trial gets: kept vision features, logits at labels only, one flat fused AdamW.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from peft import get_peft_model
from torch.nn.functional import cross_entropy

from benchmarks.ladder.flat import Flat
from benchmarks.packing.case import Arguments, Case
from workers.families.base import Base
from workers.models.adapters import lora_config
from workers.recipe import Adapter


class Each:
    """Trained weights one by one, as peft makes them: what `Flat` makes one tensor of."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        self.weights = list(parameters)

    def clip(self, most: float) -> None:
        """Scale the gradient down to an L2 norm of at most `most`."""
        torch.nn.utils.clip_grad_norm_(self.weights, most)

    def forget_gradient(self) -> None:
        """Let go of the gradient."""
        for weight in self.weights:
            weight.grad = None


def loop(
    base: Base, case: Case, data: list[Arguments], *, fused: bool = True
) -> Callable[[int], None]:
    """Put a new adapter on the base; return what trains it for a number of steps.

    Without `fused` the optimizer is `torch.optim.AdamW` of the adapter's weights, as it comes.
    """
    adapter = Adapter(rank=case.rank, alpha=float(case.rank), dropout=case.dropout)
    model = get_peft_model(base.model, lora_config(adapter, base)).train()
    trained = (p for p in model.parameters() if p.requires_grad)
    weights = Flat(trained) if fused else Each(trained)
    of = [weights.weights] if isinstance(weights, Flat) else weights.weights
    optimizer = torch.optim.AdamW(of, lr=1e-4, weight_decay=0.0, fused=fused or None)
    head = base.model.get_output_embeddings()

    def steps(count: int) -> None:
        for number in range(count):
            arguments = dict(data[number % len(data)])
            targets, predicting = arguments.pop("targets"), arguments.pop("predicting")
            with _projected(head, predicting):
                logits = model(**arguments, use_cache=False).logits
            cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
            weights.clip(1.0)
            optimizer.step()
            weights.forget_gradient()

    return steps


@contextmanager
def _projected(head: torch.nn.Module, places: tuple[torch.Tensor, ...]) -> Iterator[None]:
    """Let the head see the positions that predict a label, and no others, for a while."""
    hook = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][places],))
    try:
        yield
    finally:
        hook.remove()


def seconds(steps: Callable[[int], None], case: Case, go: Callable[[], object]) -> float:
    """Return the seconds that ``case.steps`` steps of each adapter of a loop take.

    `go` is called after the warm-up: processes that run at once begin the clock together.
    """
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
