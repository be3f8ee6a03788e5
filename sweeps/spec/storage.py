"""Addresses in a sweep file: of the results, of the study's database, of data and base."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from search_spaces.issues import Issue, show
from sweeps.spec.problems import refuse_any
from sweeps.spec.sweep import Sweep
from sweeps.storage.places import INSTEAD
from workers.files.addresses import is_address
from workers.redaction import has_secret, redact

DATABASES = ("sqlite", "postgresql", "mysql")
_STUDY = ("search", "storage")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SQLITE = "sqlite:///"


def results_issues(sweep: Sweep, address: str | None) -> Iterator[Issue]:
    """Yield what a sweep with its results at an address cannot have; nothing for a folder."""
    if address is None or not is_address(address):
        return
    yield from _secret("storage", address)
    address = redact(address)
    if sweep.tracking.uri is None:
        must = (
            f"must be the address of an MLflow server with results in {address}: the embedded "
            "store is a database file, which an object store cannot hold"
        )
        yield Issue(("tracking", "uri"), must, show(None))
    if sweep.search.storage is not None and not is_shared(sweep.search.storage):
        must = (
            f"must be null or a database server with results in {address}, where the study's file "
            "lies anyway"
        )
        yield Issue(_STUDY, must, show(sweep.search.storage))


def address_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield the same for the storage that the sweep file names, and addresses with secrets."""
    data = sweep.data
    named = {"data.path": data.path, "data.images": data.images, "model.base": sweep.model.base}
    for field, address in named.items():
        yield from _secret(field, address)
    yield from results_issues(sweep, sweep.storage)


def refuse_unfit(sweep: Sweep, address: str | None) -> None:
    """Raise `SpecError` for a sweep whose results cannot live at an address."""
    refuse_any(results_issues(sweep, address), "sweep")


def study_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield what is wrong with the address of the study, and with it for the sampler."""
    address = sweep.search.storage
    if address is None:
        return
    scheme = address.partition("://")[0].partition("+")[0]
    if "://" not in address:
        if not address.endswith(".log"):
            must = "must be the path of a .log file, or the address of a database"
            yield Issue(_STUDY, must, address)
    elif scheme not in DATABASES:
        must = f"must be an address that begins with one of {', '.join(DATABASES)}"
        yield Issue(_STUDY, must, scheme)
    elif has_secret(address):
        must = (
            "must not hold a password, because the sweep file is kept with the results: name a "
            "variable of the environment instead, as in postgresql://me:${STUDY_PASSWORD}@host/db"
        )
        yield Issue(_STUDY, must, redact(address))
    elif is_shared(address) and sweep.search.sampler.name == "cmaes":
        must = (
            "must be another one: cmaes reads pickles back from the study, which is not safe "
            "from a database that others write to"
        )
        yield Issue(("search", "sampler", "name"), must, show("cmaes"))


def absolute_address(address: str | None) -> str | None:
    """Return the address of a study with a file in it named from the root."""
    if address is None:
        return None
    if "://" not in address:
        return str(Path(address).expanduser().absolute())
    file = address.removeprefix(_SQLITE)
    if file != address and not file.startswith("/"):
        return _SQLITE + str(Path(file).absolute())
    return address


def is_shared(address: str | None) -> bool:
    """Tell whether others than the owner of the sweep may write to the study."""
    return address is not None and "://" in address and not address.startswith("sqlite")


def variables(address: str) -> list[str]:
    """Return the variables of the environment that an address names."""
    return _VARIABLE.findall(address)


def expanded(address: str) -> str:
    """Return an address with its variables replaced; raises ValueError for one that is not set."""
    for name in variables(address):
        if name not in os.environ:
            raise ValueError(
                f"search.storage: the environment has no variable {name}, which {address} "
                f"names; set it, as in {name}=... sweeps run FILE"
            )
    return _VARIABLE.sub(lambda match: os.environ[match[1]], address)


def _secret(field: str, address: str | None) -> Iterator[Issue]:
    if is_address(address) and has_secret(str(address)):
        must = f"must be an address without a secret: {INSTEAD}"
        yield Issue(tuple(field.split(".")), must, show(address))
