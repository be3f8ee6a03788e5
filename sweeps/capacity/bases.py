"""The base models of a sweep's space whose files are on this machine."""

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
    revisions = sweep.swept("model.revision", model.revision)
    return list(product(sweep.swept("model.base", model.base), revisions))


def found(sweep: Sweep) -> Files:
    """Return the files of the bases that are on this machine."""
    there = {name: checkpoint_files.find(*name) for name in names(sweep)}
    return {name: files for name, files in there.items() if files}


class Bases:
    """The architectures of bases, read once for all estimates of a sweep."""

    def __init__(self, files: Files) -> None:
        self._architectures = {name: Architecture.of(own) for name, own in files.items()}

    def __bool__(self) -> bool:
        return bool(self._architectures)

    def of(self, recipe: Recipe) -> Architecture | None:
        """Return the architecture of a recipe's base.

        None where it is unknown or has no such ``adapter.targets``: a trial with them ends before
        it takes any memory.
        """
        base = self._architectures.get((recipe.model.base, recipe.model.revision))
        if base is None:
            return None
        try:
            families.target_pattern(families.get(base.files.model_type), recipe.adapter.targets)
        except ValueError:
            return None
        return base
