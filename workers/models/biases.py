"""Biases of the base that adapters train: a private set per adapter, put in place in turns.

peft trains the base's own biases in place and so allows them to one adapter only. Here the base
keeps its own, untouched, and each adapter has copies.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn


class Biases:
    """All biases of a base model, by the path of the module that has them.

    Made from the bare base, before any adapter wraps its layers.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = {
            path: module
            for path, module in model.named_modules()
            if isinstance(getattr(module, "bias", None), nn.Parameter)
        }
        self._bases_own = {path: module.bias for path, module in self._modules.items()}
        self._sets: dict[str, dict[str, nn.Parameter]] = {}
        self._placed: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the modules that have a bias."""
        return tuple(self._modules)

    def add(self, name: str, paths: Iterable[str]) -> None:
        """Make the adapter's copies of the base's biases of the modules at `paths`."""
        self._sets[name] = {
            path: nn.Parameter(self._bases_own[path].detach().clone()) for path in paths
        }

    def remove(self, name: str) -> None:
        """Forget the adapter's copies; the base has its own again."""
        self.place(None)
        del self._sets[name]

    def place(self, name: str | None) -> str | None:
        """Put the adapter's biases into the base, or the base's own; return whose were there."""
        before = self._placed
        if before != name:
            self._put(before, self._bases_own)
            self._put(name, self._sets.get(name or "", {}))
            self._placed = name
        return before

    def of(self, name: str) -> dict[str, nn.Parameter]:
        """Return the adapter's biases by module path."""
        return self._sets[name]

    def load(self, name: str, values: Mapping[str, Tensor]) -> None:
        """Overwrite the adapter's biases."""
        for path, value in values.items():
            self._sets[name][path].data.copy_(value)

    def _put(self, name: str | None, values: Mapping[str, Tensor]) -> None:
        for path in self._sets.get(name or "", {}):
            self._modules[path].bias = values[path]
