"""Loss scales of the slots of a pack on a float16 base.

float16 has 5 bits of exponent, in which most gradients of activations would underflow. So each
slot's loss is multiplied by a scale, and its gradient divided by it (Micikevicius et al. 2018). The
rules are those of torch's `GradScaler`, for each row by itself and on the device, where nothing is
read: a gradient that has overflowed halves its slot's scale, and that slot leaves out its step.
"""

from collections.abc import Sequence

import torch

INITIAL, GROWTH, BACKOFF, GROWTH_INTERVAL = 2.0**16, 2.0, 0.5, 2000
"""Of torch's `GradScaler`."""
LEAST = 2.0**-30
"""No scale goes below, for it is divided by."""


def new_scale(device: torch.device) -> torch.Tensor:
    """Return the state of a slot: scale, steps without overflow since it changed, steps left out.

    Rounded to float32, as all of it is counted.
    """
    return torch.tensor([INITIAL, 0.0, 0.0], device=device)


class LossScales:
    """The states of slots in the order of their rows, (slots, 3).

    `rows` are views of them, which change with each step.
    """

    def __init__(self, states: Sequence[torch.Tensor]) -> None:
        self._states = torch.stack(list(states))
        self.rows = tuple(self._states)

    @property
    def scale(self) -> torch.Tensor:
        """Factors of the losses, (slots,)."""
        return self._states[:, 0]

    @property
    def left_out(self) -> torch.Tensor:
        """Steps of each slot that were left out, (slots, 1)."""
        return self._states[:, 2:]

    def unscale(self, gradients: torch.Tensor, stepping: torch.Tensor) -> torch.Tensor:
        """Divide the gradients (slots, width) of rows that step, and zero those with an overflow.

        `stepping` (slots, 1) says which do; returned is which of them have no overflow.
        """
        finite: torch.Tensor = torch.linalg.vector_norm(gradients, dim=1, keepdim=True).isfinite()
        scale = self._states[:, :1]
        gradients.mul_(torch.where(stepping, 1.0 / scale, torch.ones_like(scale)))
        gradients.masked_fill_(stepping & ~finite, 0.0)
        return stepping & finite

    def update(self, stepping: torch.Tensor, taken: torch.Tensor) -> None:
        """Change the scales after a step; both (slots, 1) as in `unscale`."""
        scale, clean, left_out = self._states.unbind(1)
        stepping, taken = stepping[:, 0], taken[:, 0]
        overflow = stepping & ~taken
        clean.add_(taken).masked_fill_(overflow, 0.0)
        grown = clean >= GROWTH_INTERVAL
        clean.masked_fill_(grown, 0.0)
        scale.mul_(torch.where(grown, GROWTH, 1.0)).mul_(torch.where(overflow, BACKOFF, 1.0))
        scale.clamp_(min=LEAST)
        left_out.add_(overflow)
