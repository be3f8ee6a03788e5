"""Checks of what is said about a base before it is loaded."""

from pathlib import Path

from workers.contract.subject import Subject
from workers.memory.footprint import estimate
from workers.memory.layers import Architecture
from workers.models import checkpoint_files


def check_memory(subject: Subject) -> str:
    """The memory of a trial on a GPU can be estimated from the config."""
    folder = subject.source or Path(subject.model.base)
    files = checkpoint_files.from_config(folder)
    footprint = estimate(subject.recipe, Architecture.of(files), gpu=True)
    assert footprint.activations > 0, "no layer is known whose activations are kept"
    size = f"{files.weights / 1e9:.1f} billion" if files.weights > 1e8 else f"{files.weights:,}"
    taken = f"{footprint.total / 1e9:.1f} GB on a GPU"
    return f"{size} weights; a trial with batches of 2 takes {taken}"
