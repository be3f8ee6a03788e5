"""MLflow's embedded store: a new one is the copy of an empty one."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from workers.files import cache
from workers.files.atomic import atomic_path


def prepare(database: Path) -> None:
    """Put an empty store at `database` unless one is there, and spare MLflow making it.

    MLflow runs every migration since its first version, a second of work. What comes of it is
    kept in the cache, one per version. Where that cannot be, MLflow makes the store itself.
    """
    if database.exists():
        return
    import mlflow

    empty = cache.folder() / "mlflow" / f"{mlflow.__version__}.db"
    with suppress(OSError):
        if not empty.exists():
            cache.make(empty.parent)
            with atomic_path(empty) as partial:
                _make(partial)
        copy = database.with_name(f".{database.name}.{os.getpid()}")
        try:
            shutil.copyfile(empty, copy)
            os.link(copy, database)  # unlike a rename it replaces nothing
        finally:
            copy.unlink(missing_ok=True)


def _make(database: Path) -> None:
    """Make a store without experiments: the default one has an address below its own root."""
    import sqlalchemy
    from mlflow.store.db import utils

    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    try:
        utils._initialize_tables(engine)  # type: ignore[no-untyped-call]
    except AttributeError as error:  # of another version
        raise OSError("this MLflow makes its tables in another way") from error
    finally:
        engine.dispose()
