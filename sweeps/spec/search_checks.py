"""Checks of the search that no single field can make: what the sampler can do, points to start."""

from collections.abc import Iterator

from search_spaces.flaws import Flaw, show
from sweeps import samplers
from sweeps.names import is_component
from sweeps.spec import database, plugins, starts
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import flaws_of

_SAMPLER = ("search", "sampler")


def sampler_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield options that the sampler has not, and domains that it cannot sample."""
    sampler = sweep.search.sampler
    if sampler.name not in plugins.samplers():
        return
    for flaw in flaws_of(plugins.sampler_options(sampler.name), sampler.options):
        yield flaw.below(*_SAMPLER, "options")
    for flaw in samplers.flaws(sampler.name, sweep.search.space):
        yield flaw.below("search", "space")


def storage_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield what is wrong with the storage's address, and with it for the sampler."""
    address, sampler = sweep.search.storage, sweep.search.sampler.name
    flaw = None if address is None else database.flaw(address)
    if flaw:
        yield Flaw(("search", "storage"), *flaw)
    elif database.is_shared(address) and sampler == "cmaes":
        must = (
            "must be another one: cmaes reads pickles back from the study, which is not safe "
            "from a database that others write to"
        )
        yield Flaw((*_SAMPLER, "name"), must, show(sampler))


def start_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield points to start with that lie outside the space."""
    for flaw in starts.flaws(sweep):
        yield flaw.below("search", "start")


def warm_start_flaws(sweep: Sweep) -> Iterator[Flaw]:
    """Yield earlier sweeps that are named twice, and paths."""
    earlier = sweep.search.warm_start
    for index, name in enumerate(earlier):
        at = ("search", "warm_start", str(index))
        if not is_component(name):
            yield Flaw(at, "must be the name of an earlier sweep, not a path", show(name))
        if name in earlier[:index]:
            yield Flaw(at, "must be a list without repeats", show(name))
