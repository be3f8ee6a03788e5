"""AdamW (Loshchilov and Hutter 2019) of the slots of a pack, each with its own hyperparameters.

On a CPU row by row with torch's fused kernel, which goes through a row once. On a GPU, where each
launch costs more than its work, all rows at once: learning rate, weight decay, norm and number of
steps are columns of one small table, and a row that does not step keeps its bits, with a learning
rate of 0 and moments that move by 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch.optim.adamw import adamw

from workers.encoding.collation import to_device
from workers.packing.arena import Key

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Of torch's `AdamW`."""
AT_ONCE = 2**26
"""Elements of all rows that are updated at a time: bounds what is between the operations to 512
MiB."""


@dataclass(frozen=True, kw_only=True)
class RowStep:
    """One optimizer step of one slot."""

    number: int
    """Steps that its moments have seen, this one included."""
    learning_rate: float
    weight_decay: float
    max_norm: float | None
    """Largest L2 norm of its gradient; None for any."""


def step_rows(rows: Mapping[Key, torch.Tensor], steps: Sequence[RowStep | None]) -> None:
    """Clip gradients, update the rows, and set the gradients of those that stepped to zero.

    `rows` are (slots, width) in float32. `steps` has one for each row, None for one that does not
    step. Memory is taken before the first change: where it runs out, nothing has changed.
    """
    update = _row_by_row if rows["values"].device.type == "cpu" else _all_rows
    update(rows, steps)


def _row_by_row(rows: Mapping[Key, torch.Tensor], steps: Sequence[RowStep | None]) -> None:
    every = zip(*(rows[key] for key in get_args(Key)), steps, strict=True)
    for value, gradient, first, second, step in every:
        if step is None:
            continue
        if step.max_norm is not None:
            gradient.mul_((step.max_norm / (gradient.norm() + 1e-6)).clamp(max=1.0))
        adamw(
            [value], [gradient], [first], [second], [], [torch.tensor(step.number - 1.0)],
            fused=True, amsgrad=False, beta1=BETA1, beta2=BETA2, lr=step.learning_rate,
            weight_decay=step.weight_decay, eps=EPSILON, maximize=False,
        )  # fmt: skip
        gradient.zero_()


def _all_rows(rows: Mapping[Key, torch.Tensor], steps: Sequence[RowStep | None]) -> None:
    values, gradients = rows["values"], rows["gradients"]
    table = to_device(torch.tensor([_columns(step) for step in steps]), values.device)
    decay, weight1, weight2, size, correction, most = table.unsqueeze(-1).unbind(1)
    stepping = to_device(torch.tensor([[step is not None] for step in steps]), values.device)
    count, width = values.shape
    chunk = min(width, max(1, AT_ONCE // count))
    scratch = torch.empty(2, count, chunk, device=values.device)
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((most / (norms + 1e-6)).clamp(max=1.0))
    for start in range(0, width, chunk):
        parts = (rows[key][:, start : start + chunk] for key in get_args(Key))
        value, gradient, first, second = parts
        one, other = scratch[..., : value.shape[1]]
        value.mul_(decay)
        first.lerp_(gradient, weight1)
        second.lerp_(torch.mul(gradient, gradient, out=one), weight2)
        torch.sqrt(second, out=one).mul_(correction).add_(EPSILON)
        value.addcdiv_(torch.mul(first, size, out=other), one, value=-1.0)
    gradients.masked_fill_(stepping, 0.0)


def _columns(step: RowStep | None) -> tuple[float, ...]:
    """Return decay, share of each new moment, step size, its correction and largest norm."""
    if step is None:
        return 1.0, 0.0, 0.0, 0.0, 1.0, math.inf
    rate, most = step.learning_rate, step.max_norm
    return (
        1.0 - rate * step.weight_decay,
        1.0 - BETA1,
        1.0 - BETA2,
        rate / (1.0 - BETA1**step.number),
        1.0 / math.sqrt(1.0 - BETA2**step.number),
        math.inf if most is None else most,
    )
