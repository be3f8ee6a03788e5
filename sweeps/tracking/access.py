"""What MLflow's server says to a user whom it does not know or does not let do something."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sweeps.spec.credentials import PASSWORD, USER

_UNKNOWN, _FORBIDDEN = 401, 403
_STATUS = {"UNAUTHENTICATED": _UNKNOWN, "PERMISSION_DENIED": _FORBIDDEN}


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
    """Return what a server refused, as the rest of a sentence; None for any other error.

    MLflow wraps the refusal of a file in errors of its own, so causes are looked at as well.
    """
    while error is not None:
        status = _status(error)
        if status == _UNKNOWN:
            return _unknown()
        if status == _FORBIDDEN:
            return _forbidden(error)
        error = error.__cause__ or error.__context__
    return None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error of MLflow or of requests stands for."""
    response = getattr(error, "response", None)
    code = getattr(error, "error_code", None)
    return getattr(response, "status_code", None) or _STATUS.get(str(code))


def _unknown() -> str:
    user = os.environ.get(USER)
    found = f"does not know the user {user!r} with this password" if user else "wants to know who"
    return (
        f"{found}: set {USER} and {PASSWORD} in the environment, on a Ray cluster on every node "
        "before `ray start`; never in the sweep file"
    )


def _forbidden(error: BaseException) -> str:
    user = os.environ.get(USER, "")
    said = str(error).splitlines()[0].partition(" failed with error code")[0]
    return (
        f"does not let the user {user!r} do this ({said}): a new sweep needs the role trainers and "
        "an experiment of one's own or a shared one, a promotion the role promoters; see "
        "docs/team-server.md"
    )
