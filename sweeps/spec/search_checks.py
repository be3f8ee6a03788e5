"""Checks of the search that no single field can make: what the sampler can do, points to start."""

from collections.abc import Iterator

from search_spaces.issues import Issue, show
from sweeps import samplers
from sweeps.names import is_component
from sweeps.spec import database, plugins
from sweeps.spec.sweep import Sweep
from sweeps.spec.validation import issues_of

_SAMPLER = ("search", "sampler")


def sampler_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield options that the sampler has not, and domains that it cannot sample."""
    sampler = sweep.search.sampler
    if sampler.name not in plugins.samplers():
        return
    for issue in issues_of(plugins.sampler_options(sampler.name), sampler.options):
        yield issue.below(*_SAMPLER, "options")
    for issue in samplers.issues(sampler.name, sweep.search.space):
        yield issue.below("search", "space")


def storage_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield what is wrong with the storage's address, and with it for the sampler."""
    address, sampler = sweep.search.storage, sweep.search.sampler.name
    issue = None if address is None else database.address_issue(address)
    if issue:
        yield issue.below("search", "storage")
    elif database.is_shared(address) and sampler == "cmaes":
        must = (
            "must be another one: cmaes reads pickles back from the study, which is not safe "
            "from a database that others write to"
        )
        yield Issue((*_SAMPLER, "name"), must, show(sampler))


def warm_start_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield earlier sweeps that are named twice, and paths."""
    earlier = sweep.search.warm_start
    for index, name in enumerate(earlier):
        at = ("search", "warm_start", str(index))
        if not is_component(name):
            yield Issue(at, "must be the name of an earlier sweep, not a path", show(name))
        if name in earlier[:index]:
            yield Issue(at, "must be a list without repeats", show(name))
