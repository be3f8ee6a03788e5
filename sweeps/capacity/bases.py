"""The base models of a sweep's space, as far as their files are on this machine."""

from collections.abc import Mapping
from itertools import product

from sweeps.spec.sweep import Sweep
from workers import families
from workers.memory.layers import Architecture
from workers.models import checkpoint_files
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Recipe

Name = tuple[str, str | None]
"""``model.base`` and ``model.revision``."""

Files = Mapping[Name, CheckpointFiles]


def names(sweep: Sweep) -> list[Name]:
    """Return every base that a trial of the sweep may have."""
    model = sweep.model
    bases = sweep.swept("model.base", model.base)
    return list(product(bases, sweep.swept("model.revision", model.revision)))


def found(sweep: Sweep) -> Files:
    """Return the files of those that are here."""
    there = {name: checkpoint_files.find(*name) for name in names(sweep)}
    return {name: files for name, files in there.items() if files}


class Bases:
    """The architectures of bases, read once for all estimates of a sweep."""

    def __init__(self, files: Files) -> None:
        self._architectures = {name: Architecture.of(own) for name, own in files.items()}

    def __bool__(self) -> bool:
        return bool(self._architectures)

    def of(self, recipe: Recipe) -> Architecture | None:
        """Return that of a recipe's own base.

        None where it is not known, and where it has no such ``adapter.targets``: a trial with them
        ends before it takes any memory.
        """
        base = self._architectures.get((recipe.model.base, recipe.model.revision))
        if base is None:
            return None
        try:
            families.target_pattern(families.get(base.files.model_type), recipe.adapter.targets)
        except ValueError:
            return None
        return base
