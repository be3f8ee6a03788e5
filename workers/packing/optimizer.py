"""AdamW (Loshchilov and Hutter 2019) of the slots of a pack, each with its own hyperparameters.

On a CPU row by row with torch's fused kernel, which goes through a row once. On a GPU, where each
launch costs more than its work, all rows at once: learning rates, weight decay, norm and number of
steps are columns of one small table, and a row that does not step keeps its bits, with a learning
rate of 0 and moments that move by 0. Where learning rates differ within rows, by LoRA+ or by parts
of the model, the columns are updated span by span: as many launches for sixteen rows as for one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import get_args

import torch
from torch.optim.adamw import adamw

from workers.encoding.collation import to_device
from workers.packing.arena import Key, PackLayout
from workers.packing.loss_scales import LossScales
from workers.recipe import Recipe
from workers.training.optimizer import rate_factors

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Of torch's `AdamW`."""
AT_ONCE = 2**26
"""Elements of all rows that are updated at a time: bounds what is between the operations to 512
MiB."""


@dataclass(frozen=True, kw_only=True)
class RowStep:
    """One optimizer step of one slot."""

    number: int
    """This step's, from 1; those that were left out count, too."""
    learning_rate: float
    weight_decay: float
    max_norm: float | None
    """Largest L2 norm of its gradient; None for any."""


@dataclass(frozen=True)
class RateSpan:
    """Columns of the rows up to `end`, after those of the span before."""

    end: int
    factors: tuple[float, ...]
    """Of the scheduled learning rate, one for each row; 0 where the row is not trained."""


def rate_spans(layout: PackLayout, recipes: Sequence[Recipe]) -> list[RateSpan]:
    """Return the spans of columns in which no row has two learning rates.

    `recipes` are those of the rows. A row without a layer has zeros there, which stay zeros.
    """
    spans: list[RateSpan] = []
    end = 0
    for which in (0, 1):
        for layer in layout.layers:
            end += layout.rank * (layer.outputs if which else layer.inputs)
            factors = tuple(
                0.0
                if which and recipe.adapter.init == "mica"
                else rate_factors(layer.path, recipe.train)[which]
                for recipe in recipes
            )
            if spans and spans[-1].factors == factors:
                spans.pop()
            spans.append(RateSpan(end, factors))
    return spans


def step_rows(
    rows: Mapping[Key, torch.Tensor],
    steps: Sequence[RowStep | None],
    spans: Sequence[RateSpan] = (),
    scales: LossScales | None = None,
) -> None:
    """Clip gradients, update the rows, and set the gradients of those that stepped to zero.

    `rows` are (slots, width) in float32. `steps` has one for each row, None for one that does not
    step. `spans` are all columns; none is one learning rate for a whole row. `scales` are those of
    the losses whose gradients these are. Memory is taken before the first change of weights and
    moments: where it runs out, only gradients have changed.
    """
    gradients = rows["gradients"]
    spans = spans or [RateSpan(gradients.shape[1], (1.0,) * len(steps))]
    stepping = to_device(torch.tensor([[step is not None] for step in steps]), gradients.device)
    _forget_untrained(gradients, spans)
    taken = scales.unscale(gradients, stepping) if scales else stepping
    left_out = scales.left_out if scales else None
    update = _row_by_row if gradients.device.type == "cpu" else _all_rows
    update(rows, steps, spans, taken, left_out)
    if scales:
        scales.update(stepping, taken)


def _forget_untrained(gradients: torch.Tensor, spans: Sequence[RateSpan]) -> None:
    """Set gradients to zero that must not count in a row's norm."""
    start = 0
    for span in spans:
        if 0.0 in span.factors:
            untrained = torch.tensor([[factor == 0.0] for factor in span.factors])
            columns = gradients[:, start : span.end]
            columns.masked_fill_(to_device(untrained, gradients.device), 0.0)
        start = span.end


def _row_by_row(
    rows: Mapping[Key, torch.Tensor],
    steps: Sequence[RowStep | None],
    spans: Sequence[RateSpan],
    taken: torch.Tensor,
    left_out: torch.Tensor | None,
) -> None:
    """Update the rows that are `taken`, (slots, 1); `left_out` are the steps that others were."""
    for row, step in enumerate(steps):
        if step is None or not taken[row]:
            continue
        before = step.number - 1.0 - (0.0 if left_out is None else left_out[row].item())
        whole = rows["gradients"][row]
        if step.max_norm is not None:
            whole.mul_((step.max_norm / (whole.norm() + 1e-6)).clamp(max=1.0))
        start = 0
        for span in spans:
            own = [rows[key][row, start : span.end] for key in get_args(Key)]
            value, gradient, first, second = ([part] for part in own)
            adamw(
                value, gradient, first, second, [], [torch.tensor(before)], fused=True,
                amsgrad=False, beta1=BETA1, beta2=BETA2, eps=EPSILON, maximize=False,
                lr=step.learning_rate * span.factors[row], weight_decay=step.weight_decay,
            )  # fmt: skip
            start = span.end
        whole.zero_()


def _all_rows(
    rows: Mapping[Key, torch.Tensor],
    steps: Sequence[RowStep | None],
    spans: Sequence[RateSpan],
    taken: torch.Tensor,
    left_out: torch.Tensor | None,
) -> None:
    """Do the same to all rows at once; those that are not taken move by 0."""
    gradients = rows["gradients"]
    factors = zip(*(span.factors for span in spans), strict=True)
    made = [_columns(step, own) for step, own in zip(steps, factors, strict=True)]
    table = to_device(torch.tensor(made), gradients.device)
    if left_out is not None:
        table = _without_left_out(table, taken, left_out)
    _, weight1, weight2, correction, most, *rates = table.unsqueeze(-1).unbind(1)
    count, width = gradients.shape
    chunk = min(width, max(1, AT_ONCE // count))
    scratch = torch.empty(2, count, chunk, device=gradients.device)
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((most / (norms + 1e-6)).clamp(max=1.0))
    end = 0
    for span, decay, size in zip(spans, rates[::2], rates[1::2], strict=True):
        for start in range(end, span.end, chunk):
            columns = slice(start, min(start + chunk, span.end))
            value, gradient, first, second = (rows[key][:, columns] for key in get_args(Key))
            one, other = scratch[..., : value.shape[1]]
            value.mul_(decay)
            first.lerp_(gradient, weight1)
            second.lerp_(torch.mul(gradient, gradient, out=one), weight2)
            torch.sqrt(second, out=one).mul_(correction).add_(EPSILON)
            value.addcdiv_(torch.mul(first, size, out=other), one, value=-1.0)
        end = span.end
    gradients.masked_fill_(taken, 0.0)


def _columns(step: RowStep | None, factors: Sequence[float]) -> tuple[float, ...]:
    """Return number, share of each new moment, correction, largest norm; decay and size per span.

    `factors` are those of the learning rate in each span.
    """
    if step is None:
        return (1.0, 0.0, 0.0, 1.0, math.inf, *(1.0, 0.0) * len(factors))
    rates = [step.learning_rate * factor for factor in factors]
    unbiased = 1.0 - BETA1**step.number
    return (
        float(step.number),
        1.0 - BETA1,
        1.0 - BETA2,
        1.0 / math.sqrt(1.0 - BETA2**step.number),
        math.inf if step.max_norm is None else step.max_norm,
        *chain(*((1.0 - rate * step.weight_decay, rate / unbiased) for rate in rates)),
    )


def _without_left_out(
    table: torch.Tensor, taken: torch.Tensor, left_out: torch.Tensor
) -> torch.Tensor:
    """Return the table with nothing to do for rows that are not taken, and with fewer steps.

    The moments have seen fewer than the host counts: corrections are those of what they have seen.
    """
    spans = (table.shape[1] - 5) // 2
    idle = to_device(torch.tensor([_columns(None, [1.0] * spans)]), table.device)
    number = table[:, :1]
    seen = (number - left_out).clamp_(min=1.0)
    first, second = (
        torch.expm1(number * math.log(beta)) / torch.expm1(seen * math.log(beta))
        for beta in (BETA1, BETA2)
    )
    table[:, 3:4] *= second.sqrt()
    table[:, 6::2] *= first
    return torch.where(taken, table, idle)
