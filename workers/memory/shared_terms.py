"""The low-rank terms of the rows of one forward, and the arena that holds those of a pack."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from workers.memory.weights import adapted_paths
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Recipe

RANK_STEP = 8
"""Ranks in an arena are padded to a multiple of it, which tensor cores need."""
_FIRST_CAPACITIES = (0, 1, 2, 4, 8)
_CAPACITY_STEP = 4


def padded_rank(rank: int) -> int:
    """Return the rank with which an arena stores a trial."""
    return -(-rank // RANK_STEP) * RANK_STEP


def arena_capacity(slots: int) -> int:
    """Return the rows of an arena with so many slots: it grows in steps, not row by row."""
    stepped = -(-slots // _CAPACITY_STEP) * _CAPACITY_STEP
    return next((size for size in _FIRST_CAPACITIES if size >= slots), stepped)


@lru_cache(maxsize=1024)
def most_rows(slots: int, arenas: int) -> int:
    """Return the most rows that so many slots take in so many arenas, however they spread."""
    if arenas == 1:
        return arena_capacity(slots)
    return max(arena_capacity(own) + most_rows(slots - own, arenas - 1) for own in range(slots + 1))


@dataclass(frozen=True, kw_only=True)
class SharedTerms:
    """What every row of a forward meets: of one trial alone, or of all the trials of a pack."""

    paths: frozenset[str]
    """Layers with a low-rank term: in a pack those that any of its trials adapts."""
    rank: int
    """In a pack the largest, padded."""
    dropout: bool
    """Whether inputs are masked."""
    smoothed: bool
    """Whether labels are smoothed: then backward needs the logits twice."""
    packed: bool

    @classmethod
    def alone(cls, recipe: Recipe, files: CheckpointFiles) -> "SharedTerms":
        """Return those of a trial with peft's own layers."""
        return cls(
            paths=frozenset(adapted_paths(recipe.adapter, files)),
            rank=recipe.adapter.rank,
            dropout=recipe.adapter.dropout > 0,
            smoothed=recipe.train.label_smoothing > 0,
            packed=False,
        )

    @classmethod
    def of_pack(cls, terms: Iterable["SharedTerms"]) -> "SharedTerms":
        """Return those of trials of one base that share their forward."""
        own = list(terms)
        return cls(
            paths=frozenset().union(*(each.paths for each in own)),
            rank=padded_rank(max(each.rank for each in own)),
            dropout=any(each.dropout for each in own),
            smoothed=any(each.smoothed for each in own),
            packed=True,
        )

    def row_weights(self, files: CheckpointFiles) -> int:
        """Return the weights of one row of the arena, padding included."""
        return self.rank * sum(sum(files.shapes[f"{path}.weight"]) for path in self.paths)
