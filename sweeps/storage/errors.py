"""What is wrong with a storage, in words that name the node and what to do."""

import os
import socket

from workers.redaction import redact


class StorageError(OSError):
    """A storage cannot be used, or not now."""


_REFUSED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED_TOKEN",
            "INVALID_CLIENT_TOKEN_ID", "HTTP status 403", "HTTP response code 403",
            "HTTP status 401")  # fmt: skip
_LASTS = (*_REFUSED, "can open it", "NO_SUCH_BUCKET", "HTTP status 301", "INVALID_BUCKET_NAME")
_SILENT = ("NETWORK_CONNECTION", "curlCode", "REQUEST_TIMEOUT", "Could not connect", "resolve host")


def passes(error: BaseException) -> bool:
    """Tell whether an error may be gone in a while; a user must fix the others."""
    return isinstance(error, OSError) and not any(sign in str(error) for sign in _LASTS)


def explained(address: str, error: BaseException, field: str = "storage") -> StorageError:
    """Return the error of a store as one sentence."""
    node, reason = socket.gethostname(), _reason(address, str(error))
    return StorageError(redact(f"{field}: {node} cannot use {address}: {reason}"))


def no_bucket(address: str) -> StorageError:
    """Return the error of an address whose bucket is not there."""
    return explained(address, OSError("NO_SUCH_BUCKET"))


def _reason(address: str, said: str) -> str:
    if "NO_SUCH_BUCKET" in said:
        return "there is no such bucket; create it, or correct the address"
    if any(sign in said for sign in _REFUSED):
        return (
            f"it was refused ({_short(said)}); credentials belong in the environment of every "
            "node, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or as the role of the machine"
        )
    if any(sign in said for sign in _SILENT):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        asked = f" at {endpoint} (AWS_ENDPOINT_URL)" if endpoint and "s3" in address[:3] else ""
        return f"nothing answers{asked}; check the network and the address ({_short(said)})"
    return _short(said)


def _short(said: str) -> str:
    """Return the end of a long message, where the reason stands, on one line."""
    line = said.strip().splitlines()[0] if said.strip() else "no reason was given"
    return line.partition("AWS Error ")[2] or line
