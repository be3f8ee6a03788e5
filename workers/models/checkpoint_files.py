"""Saved checkpoints read without loading them: names and shapes of their weights."""

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from workers import families
from workers.families.base import Base, Family
from workers.files import fetched, own_code
from workers.models import builtin

PROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""Files that may say how an image processor sizes images; the first that does counts."""
TOKENIZERS = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model"),
    *("sentencepiece.bpe.model", "tekken.json"),
)
"""Files of which one has the words of a tokenizer."""
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
_COPY = "copy or download it again"


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
    image_settings: Mapping[str, Any]
    """What the processor's files say of images."""

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

    Without weights, as with the small files of a base that other machines have, and where the names
    in their files need not be those of the loaded model, it is what `from_config` returns. Raises
    ValueError, naming ``model.base`` and the file, for files that are missing, damaged, pickled, or
    of an architecture that is not supported.
    """
    folder = local_folder(base, revision)
    if folder is None:
        return None
    config = read_config(folder)
    files, model_type = _weights(folder), config["model_type"]
    if not files and any(folder.glob("pytorch_model*.bin")):
        raise ValueError(own_code.pickled(base))
    headers = [_shapes(file) for file in files]
    stored = sum(file.stat().st_size for file in files)
    family = families.of_checkpoint(model_type, folder)
    if not files or not (family.SAVED_NAMES or model_type in families.MODULES):
        return replace(from_config(folder), file_bytes=stored)
    shapes = {}
    for name, shape in (named for header in headers for named in header.items()):
        for pattern, replacement in family.SAVED_NAMES.items():
            name = re.sub(pattern, replacement, name)
        shapes[name] = shape
    return CheckpointFiles(
        model_type=model_type,
        family=family,
        shapes=shapes,
        file_bytes=stored,
        config=config,
        pixels=_pixels(folder),
        image_settings=_image_settings(folder),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the saved config of a checkpoint.

    Raises ValueError, naming ``model.base``, where there is none or it names no architecture.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise ValueError(
            f"model.base: {folder} has no {CONFIG}; it must be a folder that transformers' "
            "save_pretrained wrote, or a download of a model from the hub"
        )
    config = read_json(file)
    if not isinstance(config.get("model_type"), str):
        raise ValueError(
            f"model.base: {file} must name the architecture as model_type, such as 'git', and has "
            f"{config.get('model_type')!r}; {_COPY}"
        )
    return config


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises ValueError, naming ``model.base``, for any other."""
    try:
        found = json.loads(file.read_text())
    except ValueError as error:  # not text, or no JSON
        raise ValueError(f"model.base: {file} is no JSON ({error}); {_COPY}") from error
    if not isinstance(found, dict):
        raise ValueError(f"model.base: {file} must be a JSON object; {_COPY}")
    return found


def refuse_without_processor(base: str, revision: str | None) -> None:
    """Refuse a folder of a base that lacks the files of its processor.

    Raises ValueError, naming ``model.base``, the folder and the files. One of the hub's cache may
    have them fetched later.
    """
    folder = local_folder(base, revision)
    if folder is None or folder.parent.name == "snapshots":
        return
    for wanted, what in ((PROCESSORS, "images"), (TOKENIZERS, "texts")):
        if not any((folder / name).is_file() for name in wanted):
            raise ValueError(
                f"model.base: {folder} has no processor for {what}: {' or '.join(wanted[:2])} is "
                "missing, which the processor's save_pretrained writes; copy the base's small "
                "files there, too (*.json, *.txt, *.model, *.jinja)"
            )


def from_config(folder: Path) -> CheckpointFiles:
    """Return what the checkpoint of the config in `folder` holds, without its weights' files.

    Names are those of the loaded model's modules. Takes a second or two, for it imports torch.
    Raises ValueError as `empty_base` does.
    """
    model = empty_base(folder).model
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    return CheckpointFiles(
        model_type=model.config.model_type,
        family=families.of_checkpoint(model.config.model_type, folder),
        shapes=shapes,
        file_bytes=0,
        config=model.config.to_dict(),
        pixels=_pixels(folder),
        image_settings=_image_settings(folder),
    )


def empty_base(folder: Path) -> Base:
    """Return the base of the config in `folder`, without weights and without its processor.

    It has the modules of the loaded one. Raises ValueError, naming ``model.base``, where no model
    can be made of the config.
    """
    return _empty_base(folder, (folder / CONFIG).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _empty_base(folder: Path, changed: int) -> Base:
    """Make it; with buffers where a model computes with them while it is made."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoModelForImageTextToText

    from workers.models.loading import supported_config
    from workers.recipe import Model

    read_config(folder)  # its own errors are clearer
    try:
        config = supported_config(Model(base=str(folder)), str(folder))
    except ValueError:
        raise
    except Exception as error:  # a value of another type than the architecture's field has
        raise _impossible(folder, error) from error

    def build(*, empty_buffers: bool) -> Any:
        with init_empty_weights(include_buffers=empty_buffers):
            return AutoModelForImageTextToText.from_config(config, trust_remote_code=False)

    try:
        model = build(empty_buffers=True)
    except Exception:
        try:
            model = build(empty_buffers=False)
        except Exception as error:  # whatever an impossible size makes an architecture raise
            raise _impossible(folder, error) from error
    model.tie_weights()  # each empty weight was made by itself
    family, device = families.get(config.model_type), torch.device("meta")
    return Base(model=model, processor=None, family=family, device=device)


def _impossible(folder: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())
    if isinstance(error, ImportError):
        return ValueError(
            f"model.base: the architecture of {folder / CONFIG} wants a package that is not "
            f"installed: {reason}"
        )
    return ValueError(
        f"model.base: no model can be made of {folder / CONFIG}; {_COPY} "
        f"({type(error).__name__}: {reason})"
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
        saved = read_json(file) if file.is_file() else {}
        saved = saved.get("image_processor", saved)
        size = saved.get("size") or {}
        limits = saved.get("min_pixels"), saved.get("max_pixels")
        counts = "merge_size" in saved  # of others, edges are edges
        if None in limits and counts and {"shortest_edge", "longest_edge"} <= size.keys():
            limits = size["shortest_edge"], size["longest_edge"]
        if None not in limits:
            return int(limits[0]), int(limits[1])
    return None


def _image_settings(folder: Path) -> dict[str, Any]:
    """Return what the processor's files say of images; the first file that says it counts."""
    settings: dict[str, Any] = {}
    for file in (folder / name for name in reversed(PROCESSORS)):
        saved = read_json(file) if file.is_file() else {}
        settings |= saved.get("image_processor", saved)
    return settings


def _weights(folder: Path) -> list[Path]:
    """Return the files of weights; none in the hub's cache before all are there.

    Raises ValueError, naming ``model.base``, where the index names one that is missing.
    """
    index = folder / INDEX
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    files = [folder / name for name in sorted({*read_json(index).get("weight_map", {}).values()})]
    missing = [file.name for file in files if not file.is_file()]
    if missing and folder.parent.name == "snapshots":
        return []
    if missing:
        raise ValueError(
            f"model.base: {folder} lacks {missing[0]}, one of {len(missing)} missing of "
            f"{len(files)} files that {INDEX} names; copy or download them again"
        )
    return files


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return name and shape of each tensor: a safetensors file begins with a JSON header.

    Raises ValueError, naming ``model.base``, for a file that is damaged or cut off.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(
            f"model.base: {file} has no safetensors header that can be read ({error}): it is "
            f"damaged or cut off; {_COPY}"
        ) from error
    if end > (size := file.stat().st_size):
        raise ValueError(f"model.base: {file} is cut off: {size:,} of {end:,} bytes; {_COPY}")
    return shapes
