"""The memory of this machine's devices, without importing torch."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_UNITS = {"": 1e9, "GB": 1e9, "G": 1e9, "GIB": 2.0**30, "TB": 1e12, "MB": 1e6, "MIB": 2.0**20}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU, or a slice of one (MIG), as NVIDIA's driver describes it."""

    name: str
    bytes: float
    uuid: str
    """``GPU-...``, of a slice ``MIG-...``."""
    gpu: str
    """``GPU-...`` of the whole GPU."""
    index: int
    """Of the whole GPU."""

    @property
    def is_slice(self) -> bool:
        """Whether it is a part of a GPU."""
        return self.uuid != self.gpu

    def answers_to(self, name: str) -> bool:
        """Return whether a part of ``CUDA_VISIBLE_DEVICES`` names it.

        That may be the beginning of an identity, or the number of a GPU, of which CUDA then takes
        the first slice; older drivers call slices ``MIG-GPU-.../1/0``.
        """
        if name.isdigit():
            return int(name) == self.index
        older = self.is_slice and name.startswith(f"MIG-{self.gpu}/")
        return older or (len(name) > len("GPU-") and self.uuid.startswith(name))


def cards() -> list[Card]:
    """Return the machine's GPUs, a divided one as its slices; none without NVIDIA's driver."""
    import pynvml  # here: most machines that plan a sweep have no GPU

    try:
        pynvml.nvmlInit()
        return [card for index in range(pynvml.nvmlDeviceGetCount()) for card in _cards(index)]
    except pynvml.NVMLError:
        return []


def _cards(index: int) -> Iterator[Card]:
    import pynvml

    whole = pynvml.nvmlDeviceGetHandleByIndex(index)
    gpu, handles = pynvml.nvmlDeviceGetUUID(whole), [whole]
    with suppress(pynvml.NVMLError):  # of a GPU that cannot be divided
        if pynvml.nvmlDeviceGetMigMode(whole)[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
            handles = []
            for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(whole)):
                with suppress(pynvml.NVMLError):  # a place without a slice
                    handles.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, number))
    for handle in handles:
        yield Card(
            name=pynvml.nvmlDeviceGetName(handle),
            bytes=float(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
            uuid=pynvml.nvmlDeviceGetUUID(handle),
            gpu=gpu,
            index=index,
        )


def usable(found: Sequence[Card]) -> list[Card]:
    """Return those that this process may use: all, or what ``CUDA_VISIBLE_DEVICES`` names.

    As CUDA does, up to the first name that is none.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return list(found)
    chosen: list[Card] = []
    for name in map(str.strip, visible.split(",")):
        named = (card for card in found if card not in chosen and card.answers_to(name))
        if (card := next(named, None)) is None:
            break
        chosen.append(card)
    return chosen


def name_slices() -> None:
    """Let ``CUDA_VISIBLE_DEVICES`` name the slices of divided GPUs, where it names nothing yet.

    By their numbers, which Ray would hand out, every host would get the first slice of a GPU.
    """
    found = cards()
    if "CUDA_VISIBLE_DEVICES" not in os.environ and any(card.is_slice for card in found):
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(card.uuid for card in found)


def machine_bytes(limit: Path = _CGROUP) -> float:
    """Return the memory that this process may use: the machine's, or its container's."""
    whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    written = limit.read_text().strip() if limit.is_file() else "max"
    return whole if written == "max" else min(whole, float(written))


def memory_of(text: str) -> float:
    """Return the bytes of ``24GB``, ``80 GiB`` or ``24`` (GB); raises ValueError for no size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS or not float(match[1]):
        raise ValueError(f"--gpu-memory must be a size above 0 such as 24GB or 80GiB, got {text!r}")
    return float(match[1]) * _UNITS[match[2].upper()]
