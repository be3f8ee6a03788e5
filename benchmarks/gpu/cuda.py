"""What only CUDA can tell: on a CPU the same calls return 0 or nothing, and the code around them
runs all the same.
"""

import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_HERE = Path(__file__).resolve()
_ROOT = _HERE.parents[2]


def synchronize() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def allocated() -> int:
    """Return the bytes of all tensors on the device."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def forget_peak() -> None:
    """Let `peak` begin anew."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> int:
    """Return the most bytes of tensors at a time."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


@contextmanager
def refused_waits() -> Iterator[None]:
    """Let every operation that makes the host wait for the device raise RuntimeError."""
    with _sync_debug_mode("error"):
        yield


@contextmanager
def seen_waits() -> Iterator[list[str]]:
    """Collect the place in the code of every operation that makes the host wait for the device."""
    found: list[str] = []

    def see(message: Warning | str, *_: object, **__: object) -> None:
        if "called a synchronizing" in str(message):
            found.append(_place())

    with warnings.catch_warnings(), _sync_debug_mode("warn"):
        warnings.simplefilter("always")
        warnings.showwarning = see
        yield found


@contextmanager
def _sync_debug_mode(mode: str) -> Iterator[None]:
    if not torch.cuda.is_available():
        yield
        return
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _place() -> str:
    """Return the innermost line of this project in the stack, and what it called."""
    stack = [frame for frame in traceback.extract_stack() if Path(frame.filename) != _HERE]
    own = [frame for frame in stack if Path(frame.filename).is_relative_to(_ROOT / "workers")]
    frames = [*own[-1:], *([stack[-1]] if stack[-1] not in own else [])]
    return " > ".join(f"{_short(frame.filename)}:{frame.lineno}" for frame in frames)


def _short(file: str) -> str:
    path = Path(file)
    if path.is_relative_to(_ROOT):
        return str(path.relative_to(_ROOT))
    return "/".join(path.parts[-2:])
