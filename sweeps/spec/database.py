"""The address of a study's database: what it may be, and its variables."""

import os
import re
from pathlib import Path

from search_spaces.issues import Issue
from workers.redaction import has_secret, redact

DATABASES = ("sqlite", "postgresql", "mysql")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_SQLITE = "sqlite:///"


def address_issue(address: str) -> Issue | None:
    """Return why an address cannot be used, without its password; None when it can be."""
    if "://" not in address:
        if address.endswith(".log"):
            return None
        return Issue((), "must be the path of a .log file, or the address of a database", address)
    scheme = address.partition("://")[0].partition("+")[0]
    if scheme not in DATABASES:
        must = f"must be an address that begins with one of {', '.join(DATABASES)}"
        return Issue((), must, scheme)
    if has_secret(address):
        must = (
            "must not hold a password, because the sweep file is kept with the results: name a "
            "variable of the environment instead, as in postgresql://me:${STUDY_PASSWORD}@host/db"
        )
        return Issue((), must, redact(address))
    return None


def located(address: str | None) -> str | None:
    """Return the address with a file in it named from the root."""
    if address is None:
        return None
    if "://" not in address:
        return str(Path(address).expanduser().absolute())
    file = address.removeprefix(_SQLITE)
    if file != address and not file.startswith("/"):
        return _SQLITE + str(Path(file).absolute())
    return address


def is_shared(address: str | None) -> bool:
    """Tell whether others than the owner of the sweep may write to the storage."""
    return address is not None and "://" in address and not address.startswith("sqlite")


def variables(address: str) -> list[str]:
    """Return the variables of the environment that an address names."""
    return _VARIABLE.findall(address)


def expanded(address: str) -> str:
    """Return an address with the variables of the environment put in.

    Raises ValueError for one that is not set.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(
                f"search.storage: the environment has no variable {match[1]}, which {address} "
                f"names; set it, as in {match[1]}=... sweeps run FILE"
            )
        return os.environ[match[1]]

    return _VARIABLE.sub(value, address)
