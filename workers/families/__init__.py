"""Model families: what differs between GIT, BLIP-2 and the others, and nothing else.

One file, whose ``FAMILY`` is a `Family`, and one line in `MODULES` per family; the key is
`model_type` of the saved config. The files import torch for type checking only, so that target
sets can be read at once.

A family turns an image into tensors and a prompt and a target into token numbers. Padding,
label masks and truncation are the same for all: see `workers.encoding.collation`.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import cast

from workers.families.base import Family
from workers.families.traits import recall

MODULES = {
    "git": "workers.families.git",
    "blip-2": "workers.families.blip2",
    "paligemma": "workers.families.paligemma",
}
GENERIC = "workers.families.generic"
"""For all others that transformers loads and whose processor has a chat template."""

REGEX = "re:"
"""Begins an ``adapter.targets`` that is a regular expression of the user's own."""


def target_names() -> tuple[str, ...]:
    """Return the names of all families' target sets, without importing torch."""
    types = (*MODULES, "")
    return tuple(dict.fromkeys(name for each in types for name in get(each).TARGETS))


def get(model_type: str) -> Family:
    """Return the family of a saved config's `model_type`, the generic one for an unknown type."""
    if model_type in MODULES:
        return cast(Family, import_module(MODULES[model_type]).FAMILY)
    generic = import_module(GENERIC)
    return cast(Family, generic.KNOWN.get(model_type, generic.FAMILY))


def of_checkpoint(model_type: str, folder: Path) -> Family:
    """Return the family of the checkpoint in `folder`, with its traits where they are known here.

    They are after its stand-in has run on this machine, see `workers.traits`.
    """
    family = get(model_type)
    known = recall(folder) if family.traits is not None else None
    return family.having(known) if known else family


def unsupported(model_type: str, reason: str) -> ValueError:
    """Return the error for a base that no family fits, naming those that are supported."""
    return ValueError(
        f"model.base is of type {model_type!r}; supported are {', '.join(sorted(MODULES))}, and "
        f"others that transformers loads for image-text-to-text and that have a chat template "
        f"({reason})"
    )


def target_pattern(family: Family, targets: str) -> str:
    """Return the regular expression of ``adapter.targets``: a set's, or the one after ``re:``.

    Raises ValueError for neither.
    """
    if targets in family.TARGETS:
        return family.TARGETS[targets]
    if not targets.startswith(REGEX):
        raise ValueError(
            f"adapter.targets must be one of {', '.join(family.TARGETS)}, or {REGEX} and a regular "
            f"expression over full module paths, got {targets!r}"
        )
    pattern = targets.removeprefix(REGEX)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"adapter.targets: {pattern!r} is no regular expression: {error}"
        ) from None
    return pattern
