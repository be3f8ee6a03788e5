"""The machine and the versions that figures were taken with."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sweeps.capacity.device import cards

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "ray", "optuna", "mlflow")


def description() -> dict[str, str]:
    """Return what is worth knowing, in words."""
    return {
        "CPU": f"{len(os.sched_getaffinity(0))} cores of {_cpu()}",
        "GPU": _gpus(),
        "load average": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "commit": _said("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"),
    }


def _gpus() -> str:
    try:
        return ", ".join(card.name for card in cards()) or "none"
    except ImportError:  # of NVIDIA's library, which a bare machine may lack
        return "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "?")


def _said(*command: str) -> str:
    """Return what a program printed; nothing if there is no such program or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
