"""The version of this package; a sweep runs on one version of it on all nodes."""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "caption-sweeps"


def installed_version() -> str:
    """Return the version of this package here; empty for a bare checkout."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return ""


def refuse_other(sender: str, here: str) -> None:
    """Raise ValueError when this head node has another version than the sender of a sweep."""
    if sender and here and sender != here:
        raise ValueError(
            f"the head node has {DISTRIBUTION} {here}, and the sweep was sent by {sender}: install "
            f"{DISTRIBUTION}=={sender} on every node, or {here} where you submit"
        )
