"""The files that a sweep reads: those of this machine are sent, those of the cluster are named.

A relative path is one of this machine and goes along; an absolute one is the cluster's.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from sweeps.spec.sweep import Sweep
from workers import data as sources
from workers.data.sample import DataError
from workers.files import own_code
from workers.files.addresses import is_address
from workers.recipe import Data

CHECKPOINT = (
    *("config.json", "generation_config.json", "adapter_config.json"),
    *("*model*.safetensors", "*model*.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "vocab.bpe", "merges.txt", "bpe.codes", "tekken.json"),
    *("*.model", "*.spm", "*.tiktoken", "quantize_config.json"),
    *("*processor_config.json", "chat_template.json", "*.jinja"),
)
"""Names of the files of a saved checkpoint: config, weights, tokenizer, processor."""
TEMPLATES = "additional_chat_templates"
"""Its only folder."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The files of this machine that a sweep reads."""

    files: Mapping[str, str]
    """Path below the working folder -> the field that names it, directly or through its table."""
    folders: tuple[str, ...]
    """The folders of which these files are a part."""
    problems: tuple[str, ...]
    """Bad rows and missing images, which the sweep skips as its file says."""


def read(sweep: Sweep) -> Inputs:
    """Return what a sweep reads below the current folder, and therefore sends.

    Of a table that is the table and the images that it names, of a base model a checkpoint's files.
    Raises ValueError for a relative path that leads out of the folder, and for data that cannot be
    used as `workers.data.load` does, as far as that is known before an image is opened.
    """
    files: dict[str, str] = {}
    folders: list[str] = []
    for base in _bases(sweep):
        if not (_is_relative(base) and os.path.lexists(base)):
            continue  # a name on the hub, or a path of the cluster
        _refuse_outside("model.base", base)
        files |= _named(_checkpoint(Path(base)), "model.base")
        folders.append(base)
    problems: tuple[str, ...] = ()
    data = sweep.data
    if data.path is not None and _is_relative(data.path):
        found, folder, problems = _data(data)
        files |= found
        folders += [folder] if found else []  # of a set on the hub there is none
    return Inputs(files=files, folders=tuple(folders), problems=problems)


def expected(sweep: Sweep) -> list[tuple[str, str]]:
    """Return the fields and paths that a sweep reads on the cluster, as a process there sees it."""
    data = sweep.data
    named = [("model.base", base) for base in _bases(sweep)]
    if data.path is not None:
        named.append(("data.path", data.path))
    if data.images is not None:
        table = Path(data.path or ".")
        beside = table.parent if table.is_file() else table
        named.append(("data.images", str(beside / data.images)))
    return [(field, path) for field, path in named if Path(path).is_absolute()]


def _bases(sweep: Sweep) -> list[str]:
    return [str(base) for base in sweep.swept("model.base", sweep.model.base)]


def _data(data: Data) -> tuple[dict[str, str], str, tuple[str, ...]]:
    """Return the files of the data with their fields, their folder, and what will be skipped."""
    path, here = str(data.path), data.images is None or _is_relative(data.images)
    _refuse_outside("data.path", path)
    if data.images is not None and here:
        _refuse_outside("data.images", data.images)
    found = sources.files(data if here else data.model_copy(update={"images": None}))
    problems = found.problems if here else ()  # else the images are the cluster's
    if problems and data.on_bad_sample == "error":
        raise DataError.listing(path, problems)
    files = _named(found.tables, "data.path")
    if here:
        files |= _named(found.images, "data.images" if data.images else "data.path")
    return files, path if Path(path).is_dir() else str(Path(path).parent), problems


def _named(files: Iterable[Path], field: str) -> dict[str, str]:
    """Return name -> field, without files that are the cluster's."""
    names = [str(file) for file in files if not file.is_absolute()]
    for name in names:
        _refuse_outside(field, name)
    return dict.fromkeys(names, field)


def _checkpoint(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"model.base: must be a folder with a saved checkpoint, got {folder}")
    there = [*folder.iterdir(), *(folder / TEMPLATES).glob("*.jinja")]
    suffixes = {file.suffix for file in there}
    if ".bin" in suffixes and ".safetensors" not in suffixes:
        raise ValueError(own_code.pickled(str(folder)))
    return [file for file in there if any(fnmatchcase(file.name, name) for name in CHECKPOINT)]


def _is_relative(path: str) -> bool:
    return not (Path(path).is_absolute() or path.startswith("~") or is_address(path))


def _refuse_outside(field: str, path: str) -> None:
    if ".." in Path(path).parts:
        raise ValueError(
            f"{field}: must lie below the working folder {Path.cwd()} to be sent, got {path}; "
            "submit from a folder above it, or put it on storage that all nodes of the cluster "
            "see and name its absolute path"
        )
