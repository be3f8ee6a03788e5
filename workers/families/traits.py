"""Traits of an architecture: what of it packs, and which modules make the features of an image.

Families with a file of their own state theirs as constants. Those of any other architecture were
seen while its tiny stand-in ran, see `workers.traits`; they are kept as a small file in the cache,
which is read here, without torch.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workers.files import cache
from workers.files.atomic import atomic_path

PROBE = 1
"""Changes with what `workers.traits` looks for: what an earlier one has found counts no more."""
_READ = ("config.json", "processor_config.json", "preprocessor_config.json")
"""Files of a checkpoint that decide its traits."""
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What holds for every base of one architecture and config."""

    alone: str | None = None
    """Why none of its trials is packed; None if some are."""
    in_rows: tuple[str, ...] = ()
    """Linear layers, see `place_of`, whose input has the tokens of one row of the batch after those
    of another, equally many of each. Only they can be adapted in a pack."""
    unmasked: bool = False
    """Whether its losses are the same without an attention mask where padding is behind."""
    no_features: str | None = None
    """Why its image features are not kept; None if they are."""
    vision: tuple[str, ...] = ()
    """Paths of the modules that make the features of an image from its pixels."""
    beside: tuple[str, ...] = ()
    """Tensors of an image that the model reads beside its features."""
    feature_layers: int = 1
    """How many layers of the language model get features of each image token."""

    def why_not_packed(self, layers: Sequence[str]) -> str | None:
        """Return why a trial that adapts these layers trains alone; None if it is packed."""
        if self.alone:
            return self.alone
        others = [layer for layer in layers if place_of(layer) not in self.in_rows]
        if not others:
            return None
        return f"{others[0]} was not seen to get equally many tokens of each row, row after row"


UNTRIED = Traits(
    alone="it is not known yet whether the rows of its batches are independent",
    no_features="it is not known yet which modules make its image features",
)
"""Of an architecture whose stand-in has not run on this machine."""


def place_of(path: str) -> str:
    """Return a module's path with ``#`` for its numbers: the same in a shallow stand-in."""
    return _NUMBER.sub("#", path)


def places_of(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the places of some modules, each once and sorted."""
    return tuple(sorted(set(map(place_of, paths))))


def recall(folder: Path) -> Traits | None:
    """Return the traits of the checkpoint in `folder`, if its stand-in ran on this machine."""
    try:
        saved: dict[str, Any] = json.loads(_file_of(folder).read_text())
        lists = {key: tuple(value) for key, value in saved.items() if isinstance(value, list)}
        return Traits(**{**saved, **lists})
    except (OSError, ValueError, TypeError):
        return None


def remember(folder: Path, traits: Traits) -> None:
    """Keep the traits of the checkpoint in `folder` for all processes of this machine."""
    file = _file_of(folder)
    cache.make(file.parent)
    with atomic_path(file) as beside:
        beside.write_text(json.dumps(asdict(traits), indent=1) + "\n")


def _file_of(folder: Path) -> Path:
    digest = hashlib.sha256(f"{PROBE} {version('transformers')}\n".encode())
    for name in _READ:
        path = folder / name
        digest.update(path.read_bytes() if path.is_file() else b"-")
    return cache.folder() / "traits" / f"{digest.hexdigest()[:32]}.json"
