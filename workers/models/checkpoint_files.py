"""Saved checkpoints read without loading them: names and shapes of their weights."""

import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers import families
from workers.families.base import Family
from workers.files import fetched, own_code
from workers.models import builtin

PROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""Files that may say how an image processor sizes images; the first that does counts."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """A checkpoint on this machine."""

    model_type: str
    family: Family
    shapes: Mapping[str, tuple[int, ...]]
    file_bytes: int
    config: Mapping[str, Any]
    """The saved config, in which defaults may be missing."""
    pixels: tuple[int, int] | None
    """Fewest and most pixels of an image, of a processor that keeps the images' own proportions."""

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def adapter_weights(self, targets: str, rank: int) -> int:
        """Return the trained weights of LoRA: rank * (inputs + outputs) per target layer."""
        pattern = re.compile(families.target_pattern(self.family, targets))
        return sum(
            rank * sum(shape)
            for name, shape in self.shapes.items()
            if len(shape) == 2 and pattern.fullmatch(name.removesuffix(".weight"))
        )


def find(base: str, revision: str | None) -> CheckpointFiles | None:
    """Return the files of ``model.base``, or None when they are not on this machine.

    Raises ValueError, naming ``model.base``, where its weights are pickled.
    """
    folder = local_folder(base, revision)
    if folder is None:
        return None
    files = sorted(folder.glob("*.safetensors"))
    if not files and any(folder.glob("pytorch_model*.bin")):
        raise ValueError(own_code.pickled(base))
    config = json.loads((folder / "config.json").read_text())
    shapes, family = {}, families.of_checkpoint(config["model_type"], folder)
    for file in files:
        for name, shape in _shapes(file):
            for pattern, replacement in family.SAVED_NAMES.items():
                name = re.sub(pattern, replacement, name)
            shapes[name] = shape
    return CheckpointFiles(
        model_type=config["model_type"],
        family=family,
        shapes=shapes,
        file_bytes=sum(file.stat().st_size for file in files),
        config=config,
        pixels=_pixels(folder),
    )


def from_config(folder: Path) -> CheckpointFiles:
    """Return what the checkpoint of the config in `folder` holds, without its weights' files.

    Names are those of the loaded model's modules. Takes a second or two, for it imports torch.
    Weights alone are left empty: some models compute with their buffers while they are made.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForImageTextToText

    with own_code.refused(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with init_empty_weights():
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    model.tie_weights()  # each empty weight was made by itself
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    return CheckpointFiles(
        model_type=config.model_type,
        family=families.of_checkpoint(config.model_type, folder),
        shapes=shapes,
        file_bytes=0,
        config=config.to_dict(),
        pixels=_pixels(folder),
    )


def local_folder(base: str, revision: str | None) -> Path | None:
    """Return where the config of ``model.base`` lies on this machine, or None.

    A folder of the hub's cache may lack the other files.
    """
    if base in builtin.BASES:
        return builtin.base_folder(base) if builtin.is_cached(base) else None
    path = fetched.is_here(base) or Path(base).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import try_to_load_from_cache

    try:
        config: Any = try_to_load_from_cache(base, "config.json", revision=revision)
    except ValueError:  # not even the form of a hub name
        return None
    return Path(config).parent if isinstance(config, str) else None


def _pixels(folder: Path) -> tuple[int, int] | None:
    """Return the fewest and most pixels that the image processor makes of an image, if it says."""
    for file in (folder / name for name in PROCESSORS):
        saved = json.loads(file.read_text()) if file.is_file() else {}
        saved = saved.get("image_processor", saved)
        size = saved.get("size") or {}
        limits = saved.get("min_pixels"), saved.get("max_pixels")
        if None in limits and {"shortest_edge", "longest_edge"} <= size.keys():
            limits = size["shortest_edge"], size["longest_edge"]
        if None not in limits:
            return int(limits[0]), int(limits[1])
    return None


def _shapes(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each tensor: a safetensors file begins with a JSON header."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, tuple(entry["shape"])
