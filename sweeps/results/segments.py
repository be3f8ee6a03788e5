"""The record of a population: which trial began with whose state at which rung, and point.

``population.jsonl`` holds a line per generation, that is, per comparison of the trials at a rung.
It is written before anybody goes on, so a resumed sweep decides nothing twice. What a trial takes
over becomes its own snapshot of the rung: from then on it needs its donor no more.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweeps.results.folder import SweepFolder
from sweeps.trial import label


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The course of a trial from a rung on: with the state of another one and a changed point."""

    trial: str
    rung: int
    """It begins after this rung, which both trials have done."""
    donor: str
    point: Mapping[str, Any]
    perturbed: tuple[str, ...]
    """Fields of `point` that differ from the donor's."""

    @property
    def origin(self) -> str:
        """Return whose state it begins with, as people read it."""
        return f"{self.donor}@{self.rung}"

    @property
    def changes(self) -> str:
        """Return the differences from the donor's point, such as ``lr0.003``."""
        return " ".join(label(path, self.point[path]) for path in self.perturbed)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One comparison."""

    rung: int
    scores: Mapping[str, float | None]
    """Trial -> its objective; None for one that could give nothing to others."""
    segments: tuple[Segment, ...]


def generations(folder: SweepFolder) -> list[Generation]:
    """Return all comparisons of a sweep in their order; none where there is no population."""
    try:
        lines = folder.population.read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in map(json.loads, lines):
        own = [{**one, "perturbed": tuple(one["perturbed"])} for one in line["segments"]]
        segments = tuple(Segment(**one) for one in own)
        found.append(Generation(rung=line["rung"], scores=line["scores"], segments=segments))
    return found


def every(folder: SweepFolder) -> list[Segment]:
    """Return the segments of all trials in their order."""
    return [segment for generation in generations(folder) for segment in generation.segments]


def of(folder: SweepFolder, trial: str) -> list[Segment]:
    """Return the segments of a trial in their order."""
    return [segment for segment in every(folder) if segment.trial == trial]


def point_at(
    segments: Sequence[Segment], sampled: Mapping[str, Any], rung: float = math.inf
) -> Mapping[str, Any]:
    """Return the point with which a trial trained `rung`; without a rung, the point of now.

    `sampled` is the point that it began with, before its `segments`.
    """
    points = [segment.point for segment in segments if segment.rung < rung]
    return points[-1] if points else sampled


def lineage(segments: Sequence[Segment], trial: str) -> str:
    """Return whose states the weights of a trial went through, the newest first.

    Such as ``lr0.003 <- trial-002@4 <- trial-000@2``; nothing for weights that are its own.
    `segments` are those of all trials.
    """
    chain: list[Segment] = []
    name, before = trial, math.inf
    while own := [one for one in segments if one.trial == name and one.rung < before]:
        chain.append(own[-1])
        name, before = own[-1].donor, own[-1].rung
    changes = [chain[0].changes] if chain and chain[0].changes else []
    return " ".join([*changes, *(f"<- {one.origin}" for one in chain)])


def keep(folder: SweepFolder, generation: Generation) -> None:
    """Put a comparison on record, and give each trial the snapshot of its donor.

    Copied before, moved into place after the line is written: a process that is killed leaves
    a comparison that is made again, or one that `settle` brings to its end.
    """
    for segment in generation.segments:
        donated = folder.donated(segment.trial, segment.rung)
        given = folder.snapshot(segment.donor, segment.rung)
        shutil.rmtree(donated, ignore_errors=True)
        folder.pull(given)
        shutil.copytree(given, donated)
        folder.push(donated)
    known = [*generations(folder), generation]
    folder.write(folder.population, "".join(json.dumps(asdict(one)) + "\n" for one in known))
    settle(folder)


def settle(folder: SweepFolder) -> None:
    """Complete what an interrupted `keep` left; remove copies for a comparison never recorded."""
    decided = {(segment.trial, segment.rung) for segment in every(folder)}
    for donated in folder.glob("trials/*/donated-*"):
        trial, rung = donated.parent.name, int(donated.name.removeprefix("donated-"))
        snapshot = folder.snapshot(trial, rung) if (trial, rung) in decided else donated
        if snapshot != donated:
            folder.pull(donated)
            shutil.rmtree(snapshot, ignore_errors=True)
            donated.rename(snapshot)
            folder.push(snapshot)
        folder.remove(donated)
