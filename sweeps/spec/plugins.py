"""Names of everything that a sweep file picks by name, read without importing the plug-ins."""

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from workers.recipe import Section

if TYPE_CHECKING:
    from workers.metrics.metric import Metric


SCHEDULERS = {
    "asha": "sweeps.schedulers.asha",
    "fifo": "sweeps.schedulers.fifo",
    "hyperband": "sweeps.schedulers.hyperband",
    "median": "sweeps.schedulers.median",
    "pbt": "sweeps.schedulers.pbt",
}
"""Scheduler -> its module, which `sweeps.schedulers` describes."""

SCHEDULERS_OF_SEVERAL_OBJECTIVES = ("asha", "fifo")


def data_sources() -> tuple[str, ...]:
    """Return the names that ``data.source`` can be."""
    from workers.data import NAMES

    return NAMES


def quantizations() -> tuple[str, ...]:
    """Return the names that ``quantization`` can be."""
    from workers.quantizations import NAMES

    return NAMES


def target_sets() -> tuple[str, ...]:
    """Return the names that ``adapter.targets`` can be, over all model families."""
    from workers.families import target_names

    return target_names()


def samplers() -> tuple[str, ...]:
    """Return the names that ``search.sampler.name`` can be."""
    from sweeps.samplers import NAMES

    return NAMES


def schedulers() -> tuple[str, ...]:
    """Return the names that ``schedule.name`` can be."""
    return tuple(SCHEDULERS)


def scheduler(name: str) -> Any:
    """Return the module of the scheduler called `name`; imports nothing heavy."""
    return import_module(SCHEDULERS[name])


def metrics() -> Mapping[str, "Metric"]:
    """Return the metrics that ``evaluate.metrics`` can name, with their descriptions."""
    from workers.metrics.catalog import METRICS

    return METRICS


NAMES: Mapping[tuple[str, ...], Callable[[], tuple[str, ...]]] = {
    ("data", "source"): data_sources,
    ("adapter", "targets"): target_sets,
    ("quantization",): quantizations,
    ("search", "sampler", "name"): samplers,
    ("schedule", "name"): schedulers,
}
"""Field of the sweep file -> the names it can be."""


def sampler_options(name: str) -> type[Section]:
    """Return the section of options that the sampler called `name` takes."""
    from sweeps.samplers import MODULES

    return _options(name, MODULES)


def scheduler_options(name: str) -> type[Section]:
    """Return the section of options that the scheduler called `name` takes."""
    return _options(name, SCHEDULERS)


def _options(name: str, modules: Mapping[str, str]) -> type[Section]:
    """Return a section with a field for each keyword-only parameter of a plug-in's `make`."""
    parameters = signature(import_module(modules[name]).make).parameters.values()
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, parameter.default)
        for parameter in parameters
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    return create_model(f"Options of {name}", __base__=Section, **fields)
