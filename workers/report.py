"""Reports of a host about a trial at the end of a rung: plain, frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reports are read where nothing is scored
    from workers.metrics.scorer import Scored


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One image with the caption that the trial wrote for it."""

    image_id: str
    caption: str
    references: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """One rung of one trial."""

    rung: int
    """Epochs trained so far; 0 is the base before any training (zero-shot)."""
    metrics: Mapping[str, float]
    """Such as ``val/cider``, ``val/loss``, ``train/loss``; ``final/*`` when finished."""
    finished: bool
    """The trial has done all its epochs."""
    seconds: float
    """Time of the host for this rung, training and scoring: of what it shares, its part."""
    predictions: tuple[Prediction, ...] = field(default=(), repr=False)
    """Captions of the validation images, in the order of the split."""
    scored: "Scored | None" = field(default=None, repr=False)
    """Scores of these captions, and their statistics per image; None where none were written."""
    symptoms: tuple[str, ...] = ()
    """Faults of the captions or the loss, in words; empty for a healthy rung."""
    collapsed: bool = False
    """The guard stops the trial here."""
    image_waits: Mapping[str, float] = field(default_factory=dict)
    """How often its steps waited for images, see `workers.features.images.ImageWaits.counts`."""

    @property
    def diagnosis(self) -> str:
        """The symptoms in one line, with their rung; empty for a healthy rung."""
        return f"rung {self.rung}: {'; '.join(self.symptoms)}" if self.symptoms else ""


@dataclass(frozen=True, kw_only=True)
class Done:
    """The outcome of a slot's work: a report or an error."""

    name: str
    report: Report | None = None
    error: Exception | None = None
    """Why there is no report; the slot cannot continue."""
