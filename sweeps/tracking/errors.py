"""Errors of MLflow: those of a server that is away, and those of authentication."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sweeps.spec.credentials import PASSWORD, USER

_WAIT_STATUS = (401, 403, 408, 429)  # a person or time fixes these; other 4xx stay as they are
_NETWORK = ("requests", "urllib3", "boto")
"""Packages by which MLflow's client reaches servers and object stores."""


def is_away(error: Exception) -> bool:
    """Tell an MLflow that cannot answer now from one that rejects what it got."""
    status = _status(error)
    if status is not None:
        busy = "QueuePool limit" in str(error)  # which MLflow calls a bad request
        return status >= 500 or status in _WAIT_STATUS or busy
    network = type(error).__module__.startswith(_NETWORK)
    return network or isinstance(error, ConnectionError | TimeoutError)


def first_line(error: Exception) -> str:
    """Return type and message of an error, short enough for a line."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said[:300]}"


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Raise PermissionError, with `address` and a sentence, in place of a refusal of MLflow's."""
    try:
        yield
    except Exception as error:
        said = refusal(error)
        if said is None:
            raise
        raise PermissionError(f"MLflow at {address} {said}") from error


def refusal(error: BaseException | None) -> str | None:
    """Return an error of authentication or authorization as the rest of a sentence, else None.

    MLflow wraps the refusal of a file in errors of its own, so causes are examined as well.
    """
    user = os.environ.get(USER, "")
    while error is not None:
        # A store of files that refuses is none of MLflow's business.
        is_store = type(error).__module__.startswith("boto")
        status = None if is_store else _status(error)
        if status == 401:
            found = f"does not know the user {user!r} with this password"
            return (
                f"{found if user else 'wants to know who'}: set {USER} and {PASSWORD} in the "
                "environment, on a Ray cluster on every node before `ray start`; never in the "
                "sweep file"
            )
        if status == 403:
            said = str(error).splitlines()[0].partition(" failed with error code")[0]
            return (
                f"does not let the user {user!r} do this ({said}): a new sweep needs the role "
                "trainers and an experiment of one's own or a shared one, a promotion the role "
                "promoters; see docs/team-server.md"
            )
        error = error.__cause__ or error.__context__
    return None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error of MLflow, of `requests` or of an S3 client."""
    if answered := getattr(error, "get_http_status_code", None):
        return int(answered())
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        response = response.get("ResponseMetadata", {})
        return int(response["HTTPStatusCode"]) if "HTTPStatusCode" in response else None
    return None if response is None else int(response.status_code)
