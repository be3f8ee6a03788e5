"""All trained weights of a model as one tensor: an optimizer step is then a few kernels."""

from collections.abc import Iterable

import torch


class Flat:
    """`weights` (all weights,) is what the optimizer gets; the model's parameters are views of it.

    Gradients are views of one tensor too, into which backward adds.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        each = list(parameters)
        self.weights = torch.nn.Parameter(torch.cat([p.detach().flatten() for p in each]))
        self.weights.grad = self._gradient = torch.zeros_like(self.weights)
        at = 0
        for parameter in each:
            part = slice(at, at + parameter.numel())
            parameter.data = self.weights.data[part].view_as(parameter)
            parameter.grad = self._gradient[part].view_as(parameter)
            at = part.stop

    def clip(self, most: float) -> None:
        """Scale the gradient down to an L2 norm of at most `most`."""
        self._gradient.mul_((most / (self._gradient.norm() + 1e-6)).clamp(max=1.0))

    def forget_gradient(self) -> None:
        """Set the gradient to zero, in place."""
        self._gradient.zero_()
