"""A Postgres of its own on a port of this machine: made, used, and thrown away."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.server import free_port

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
"""Where Debian keeps them."""
USER = "postgres"


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Give the address of an empty database, as SQLAlchemy wants it, for the block's time."""
    data, port = folder / "postgres", free_port()
    folder.chmod(0o755)
    data.mkdir()
    if os.geteuid() == 0:
        shutil.chown(data, USER)
    _run(data, "initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    _run(data, "pg_ctl", "-D", data, "-o", options, "-w", "-l", data / "log", "start")
    try:
        yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
    finally:
        _run(data, "pg_ctl", "-D", data, "-m", "immediate", "stop")


def _run(folder: Path, program: str, *arguments: str | Path) -> None:
    """Run a program of Postgres; root hands it to the user of that name, as it refuses root."""
    command = [str(PROGRAMS / program), *map(str, arguments)]
    if os.geteuid() == 0:
        command = ["runuser", "-u", USER, "--", *command]
    # To no pipe: the server that `pg_ctl` starts would keep it open.
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{program} failed with {done.returncode}")
