"""Where a sweep's study lies: a journal file beside the results, or a database of a team."""

from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.results.folder import SweepFolder
from sweeps.spec.storage import expanded
from sweeps.study import journal

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def opened(address: str | None, folder: SweepFolder) -> "BaseStorage":
    """Return Optuna's storage; raises ValueError for one that cannot be opened."""
    if address is None or "://" not in address:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        file = journal_file(address, folder)
        journal.check(file)
        return JournalStorage(JournalFileBackend(str(file)))
    return _database(address)


def heal(address: str | None, folder: SweepFolder) -> None:
    """Take a line away that a crash has cut off; for the one process that writes the study."""
    if address is None or "://" not in address:
        journal.heal(journal_file(address, folder))


def journal_file(address: str | None, folder: SweepFolder) -> Path:
    """Return the journal file of a study that is not in a database."""
    return folder.study if address is None else Path(address).expanduser()


def _database(address: str) -> "BaseStorage":
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return RDBStorage(expanded(address))
    except ImportError as error:
        reason = f"{error}; install the database's package for Python".replace("\n", " ")
    except SQLAlchemyError as error:
        reason = type(error).__name__  # its text may hold the address with the password
    raise ValueError(f"search.storage: {address} cannot be opened: {reason}")
