"""What a sweep needs whose results live in an object store."""

from collections.abc import Iterator

from search_spaces.issues import Issue, show
from sweeps.spec import database
from sweeps.spec.problems import refuse_any
from sweeps.spec.sweep import Sweep
from sweeps.storage.places import INSTEAD
from workers.files.addresses import is_address
from workers.redaction import has_secret, redact


def issues(sweep: Sweep, address: str | None) -> Iterator[Issue]:
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
    if sweep.search.storage is not None and not database.is_shared(sweep.search.storage):
        must = (
            f"must be null or a database server with results in {address}, where the study's file "
            "lies anyway"
        )
        yield Issue(("search", "storage"), must, show(sweep.search.storage))


def storage_issues(sweep: Sweep) -> Iterator[Issue]:
    """Yield the same for the storage that the sweep file names, and addresses with secrets."""
    data = sweep.data
    named = {"data.path": data.path, "data.images": data.images, "model.base": sweep.model.base}
    for field, address in named.items():
        yield from _secret(field, address)
    yield from issues(sweep, sweep.storage)


def refuse_unfit(sweep: Sweep, address: str | None) -> None:
    """Raise `SpecError` for a sweep whose results cannot live at an address."""
    refuse_any(issues(sweep, address), "sweep")


def _secret(field: str, address: str | None) -> Iterator[Issue]:
    if is_address(address) and has_secret(str(address)):
        must = f"must be an address without a secret: {INSTEAD}"
        yield Issue(tuple(field.split(".")), must, show(address))
