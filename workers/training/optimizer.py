"""AdamW (Loshchilov and Hutter 2019) of one adapter that trains with peft's own layers.

Weights whose learning rates differ by a factor are groups of torch's optimizer. On a float16 base
the loss is scaled (Micikevicius et al. 2018) by torch's own `GradScaler`: the fused kernel leaves
out a step whose gradient has overflowed, and the host does not wait to know.
"""

import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch

from workers.families.base import Base
from workers.models.parts import learning_rate_of, part_of
from workers.recipe import Train

_WITHIN_LAYER = re.compile(r"\.(lora_|modules_to_save\.)")
"""Where in the path of a weight the path of its layer ends."""


class OptimizerError(RuntimeError):
    """An optimizer failed in its own step: it may have changed some of the weights."""


def scales_loss(base: Base) -> bool:
    """Return whether gradients on this base would underflow: float16 has 5 bits of exponent."""
    return bool(base.model.dtype == torch.float16)


def rate_factors(path: str, train: Train) -> tuple[float, float]:
    """Return the factors of the scheduled learning rate for A and B of the layer at `path`."""
    factor = learning_rate_of(part_of(path), train) / train.learning_rate
    return factor, factor * train.lora_plus_ratio


class AdapterOptimizer:
    """The optimizer of one adapter.

    Args:
        weights: trained weights by their paths, as `AdaptedBase.named_parameters` has them.
        train: rates and weight decay.
        scaled: whether the loss is scaled, see `scales_loss`.
    """

    def __init__(
        self, weights: Mapping[str, torch.nn.Parameter], train: Train, *, scaled: bool = False
    ) -> None:
        self._groups: dict[float, list[int]] = {}
        """Factor of the learning rate -> weights, by their places."""
        for place, path in enumerate(weights):
            of_a, of_b = rate_factors(_WITHIN_LAYER.split(path)[0], train)
            factor = of_b if ".lora_B." in path else of_a
            self._groups.setdefault(factor, []).append(place)
        every = list(weights.values())
        self._adamw = torch.optim.AdamW(
            [{"params": [every[place] for place in own]} for own in self._groups.values()],
            lr=train.learning_rate,
            weight_decay=train.weight_decay,
            fused=scaled or None,
        )
        self._weights = every
        self._scaler = torch.amp.GradScaler(every[0].device.type, enabled=scaled)

    @property
    def overflows(self) -> bool:
        """Whether gradients overflow without a scale, too; to read it waits for the device."""
        return self._scaler.is_enabled() and self._scaler.get_scale() < 1.0

    @property
    def _places(self) -> list[int]:
        """Places of the weights in the order of torch's optimizer."""
        return [*chain(*self._groups.values())]

    def set_learning_rate(self, rate: float) -> None:
        """Set the scheduled learning rate of the next step."""
        for factor, group in zip(self._groups, self._adamw.param_groups, strict=True):
            group["lr"] = rate * factor

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """Return what of a loss is propagated back."""
        return self._scaler.scale(loss)

    def step(self, max_norm: float | None) -> None:
        """Clip the gradient to `max_norm`, step, and forget it.

        Raises `OptimizerError`.
        """
        self._scaler.unscale_(self._adamw)
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._weights, max_norm)
        try:
            self._scaler.step(self._adamw)
        except RuntimeError as error:
            raise OptimizerError(f"the optimizer cannot step: {error}") from error
        self._scaler.update()
        self.forget_gradient()

    def forget_gradient(self) -> None:
        """Set the gradient to zero."""
        self._adamw.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """Return what a snapshot keeps, with the weights' states by their places."""
        saved = self._adamw.state_dict()["state"]
        places = self._places
        state: dict[str, Any] = {"state": {places[index]: own for index, own in saved.items()}}
        if self._scaler.is_enabled():
            own = self._scaler.state_dict()
            state |= {"scale": own["scale"], "clean_steps": own["_growth_tracker"]}
        return state

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take moments and loss scale that `state` returned, maybe of another trial.

        Rates and weight decay stay.
        """
        own, states = self._adamw.state_dict(), saved["state"]
        places = enumerate(self._places)
        own["state"] = {index: states[place] for index, place in places if place in states}
        self._adamw.load_state_dict(own)
        if self._scaler.is_enabled() and "scale" in saved:
            scale = {"scale": saved["scale"], "_growth_tracker": saved["clean_steps"]}
            self._scaler.load_state_dict(self._scaler.state_dict() | scale)
