"""Names of all plug-ins that a sweep file picks by name, and the options that they take."""

from collections.abc import Mapping
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from pydantic import create_model

from search_spaces.issues import Keys
from sweeps import samplers
from workers import data, families, quantizations
from workers.recipe import Section

SCHEDULERS = ("asha", "fifo", "hyperband", "median", "pbt")
"""Modules of `sweeps.schedulers`, which describes them."""

SCHEDULERS_OF_SEVERAL_OBJECTIVES = ("asha", "fifo")

NAMES: Mapping[Keys, tuple[str, ...]] = {
    ("data", "source"): data.NAMES,
    ("adapter", "targets"): families.target_names(),
    ("quantization",): quantizations.NAMES,
    ("search", "sampler", "name"): samplers.NAMES,
    ("schedule", "name"): SCHEDULERS,
}
"""Field of the sweep file -> the names it can be."""


def scheduler(name: str) -> Any:
    """Return the module of the scheduler called `name`; imports nothing heavy."""
    return import_module(f"sweeps.schedulers.{name}")


def options(plugin: Any) -> type[Section]:
    """Return the options of a sampler or scheduler: the keyword-only parameters of its `make`."""
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, parameter.default)
        for parameter in signature(plugin.make).parameters.values()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    return create_model(f"Options of {plugin.__name__}", __base__=Section, **fields)
