"""The settings of torch's allocator, which it reads when it first uses a GPU."""

from collections.abc import MutableMapping
from importlib.metadata import version

from packaging.version import Version

OLD, NEW = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"
_HEEDED = Version("2.11")
"""Up to here torch ignores this setting under its new name, and later warns of the old one."""


def expand_segments(environment: MutableMapping[str, str], torch: str | None = None) -> None:
    """Let torch extend its pieces of a GPU's memory in place of taking further ones.

    Batches and arenas change their sizes all the time, and what is freed in one size would serve
    no other. Settings of the user stay as they are. `torch` is its version, None for the one here.
    """
    if OLD not in environment and NEW not in environment:
        heeded = Version(torch or version("torch")) >= _HEEDED
        environment[NEW if heeded else OLD] = "expandable_segments:True"
