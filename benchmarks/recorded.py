"""The recorded table: the score of every point of a full factorial after every epoch."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.domains import Choice, Domain, LogUniform
from search_spaces.space import Space

TABLE = Path(__file__).parent / "table.jsonl"
RATE = "train.learning_rate"
Point = Mapping[str, Any]
Key = tuple[Any, ...]
Curve = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Score and validation loss of every point."""

    levels: Mapping[str, tuple[Any, ...]]
    """Field -> its values, in the order of the keys."""
    curves: Mapping[Key, Curve]
    """Values of a point's fields -> its score after epoch 1, 2, ..."""
    losses: Mapping[Key, Curve]
    """The same of the validation loss."""

    @property
    def epochs(self) -> int:
        """Number of epochs of a trial that is not stopped."""
        return max(map(len, self.curves.values()))

    @property
    def best(self) -> float:
        """Best score of any point at any epoch: a trial is judged by its best rung."""
        return max(max(curve) for curve in self.curves.values())

    def key(self, point: Point) -> Key:
        """Return the row of a point; its learning rate stands for the nearest level."""
        return tuple(self._level(field, point[field]) for field in self.levels)

    def space(self) -> Space:
        """Return the space that a search sees: a random point is any row with equal chance."""
        return Space({field: _domain(field, values) for field, values in self.levels.items()})

    def _level(self, field: str, value: Any) -> Any:
        if field != RATE:
            return value
        return min(self.levels[field], key=lambda level: abs(math.log(level / value)))


def read(path: Path = TABLE, objective: str = "cider") -> Table:
    """Read the table; raises ValueError if points of the factorial are missing."""
    header, *lines = map(json.loads, path.read_text().splitlines())
    levels = {field: tuple(values) for field, values in header["levels"].items()}
    rows = {tuple(line["point"][field] for field in levels): line for line in lines}
    missing = math.prod(map(len, levels.values())) - len(rows)
    if missing:
        raise ValueError(f"{path}: {missing} points are not recorded; run benchmarks.record_table")
    # Rung 0 is the base itself.
    curves = {key: tuple(line[objective][1:]) for key, line in rows.items()}
    losses = {key: tuple(line["loss"][1:]) for key, line in rows.items()}
    return Table(levels=levels, curves=curves, losses=losses)


def _domain(field: str, levels: tuple[Any, ...]) -> Domain:
    if field != RATE:
        return Choice(levels)
    half = math.sqrt(levels[1] / levels[0])
    return LogUniform(levels[0] / half, levels[-1] * half)
