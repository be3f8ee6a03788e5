"""Errors of MLflow: which of them mean that it is away, and their first line."""

_WAIT_STATUS = (401, 403, 408, 429)  # a person or time mends these; other 4xx stay as they are

_NETWORK = ("requests", "urllib3", "boto")
"""Packages by which MLflow's client reaches servers and object stores."""


def is_away(error: Exception) -> bool:
    """Tell an MLflow that cannot answer now from one that says that what it got is wrong."""
    status = _status(error)
    if status is not None:
        busy = "QueuePool limit" in str(error)  # which MLflow calls a bad request
        return status >= 500 or status in _WAIT_STATUS or busy
    network = type(error).__module__.startswith(_NETWORK)
    return network or isinstance(error, ConnectionError | TimeoutError)


def first_line(error: Exception) -> str:
    """Return what an error says, short enough for a line."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said[:300]}"


def _status(error: Exception) -> int | None:
    """Return the HTTP status behind an error of MLflow, of `requests` or of an S3 client."""
    answered = getattr(error, "get_http_status_code", None)
    if answered is not None:
        return int(answered())
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        response = response.get("ResponseMetadata", {})
        return int(response["HTTPStatusCode"]) if "HTTPStatusCode" in response else None
    return None if response is None else int(response.status_code)
