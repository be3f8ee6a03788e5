"""Images with their captions: where the best trials differ, and where the winner is worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.board.leaderboard import Leaderboard
from sweeps.results import best, pictures, scores_file
from sweeps.results.folder import SweepFolder
from sweeps.results.pictures import ScoredImages
from sweeps.spec.load import Sweep
from sweeps.spec.objectives import DIRECTIONS
from sweeps.tracking.sweep_run import SweepRun
from workers.report import Prediction

TRIALS = 3
"""Number of trials, the best ones, whose captions are shown."""
PER_GROUP = 4
"""Images under one heading."""


@dataclass(frozen=True, kw_only=True)
class CaptionedTrial:
    """A trial with its captions of the scored images, by its best rung."""

    trial: str
    captions: Mapping[str, Prediction]
    scores: Mapping[str, float]
    """Sample id -> score of its caption alone; empty where none are kept."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image with its captions."""

    id: str
    question: str | None
    references: tuple[str, ...]
    untrained: str | None
    """The base's caption; None where it is not kept."""
    captions: tuple[tuple[str, str, float | None], ...]
    """(trial, caption, its score) of each trial."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures under headings, each picture once."""

    metric: str | None
    """Metric of the scores; None without scores."""
    groups: Mapping[str, tuple[Picture, ...]]


def read(sweep: Sweep, folder: SweepFolder, parent: SweepRun, board: Leaderboard) -> Gallery:
    """Return the gallery of a sweep: of the best trials whose captions are kept."""
    metric = metric_of(board, [name for name in sweep.outputs() if name in DIRECTIONS])
    found: list[CaptionedTrial] = []
    for trial in board.trials:
        if len(found) == TRIALS:
            break
        predictions = best.read_predictions(folder.best_adapter(trial.name))
        if not predictions:
            continue
        captions, scores = {each.image_id: each for each in predictions}, {}
        run_id = board.run_ids.get(trial.name)
        kept = scores_file.read(parent.client, run_id) if run_id and metric else None
        if kept and metric in kept.best.scored.images:
            scored = kept.best.scored
            scores = dict(zip(scored.ids, map(float, scored.images[metric]), strict=True))
        found.append(CaptionedTrial(trial=trial.name, captions=captions, scores=scores))
    higher = metric is None or DIRECTIONS[metric] == "max"
    return choose(found, pictures.read(folder.scored_images), metric, higher=higher)


def metric_of(board: Leaderboard, outputs: Sequence[str]) -> str | None:
    """Return the score of single captions: the objective if it is among the scores."""
    return board.objective if board.objective in outputs else next(iter(outputs), None)


def choose(
    found: Sequence[CaptionedTrial], kept: ScoredImages, metric: str | None, *, higher: bool = True
) -> Gallery:
    """Return the most informative images, of those with a picture as long as there are any.

    Where two trials have scores: on which the best one gains and loses most against the next.
    Then the worst of the best one; without scores the first images. `found` has the best trial
    first; `metric` is that of the scores, and `higher` whether more of it is better.
    """
    if not found:
        return Gallery(metric=None, groups={})
    winner = found[0]
    ids = [id for id in winner.captions if id in kept.pictures] or list(winner.captions)
    shown: set[str] = set()
    groups = {}
    for heading, ordered in _orders(found, ids, higher).items():
        chosen = [id for id in ordered if id not in shown][:PER_GROUP]
        shown |= set(chosen)
        if chosen:
            groups[heading] = tuple(
                Picture(
                    id=id,
                    question=kept.questions.get(id),
                    references=winner.captions[id].references,
                    untrained=kept.untrained.get(id),
                    captions=tuple(
                        (each.trial, each.captions[id].caption, each.scores.get(id))
                        for each in found
                        if id in each.captions
                    ),
                )
                for id in chosen
            )
    return Gallery(metric=metric if winner.scores else None, groups=groups)


def _orders(
    found: Sequence[CaptionedTrial], ids: Sequence[str], higher: bool
) -> dict[str, list[str]]:
    """Return heading -> ids, the most informative ones first."""
    winner, sign = found[0], 1 if higher else -1
    own = {id: sign * winner.scores[id] for id in ids if id in winner.scores}
    if not own:
        return {"The first images": list(ids)}
    worst = sorted(own, key=lambda id: own[id])
    rival = next((each for each in found[1:] if each.scores), None)
    if rival is None:
        return {f"Worst captions of {winner.trial}": worst, "Its best captions": worst[::-1]}
    gain = {id: own[id] - sign * rival.scores[id] for id in own if id in rival.scores}
    gains = sorted((id for id in gain if gain[id] > 0), key=lambda id: -gain[id])
    losses = sorted((id for id in gain if gain[id] < 0), key=lambda id: gain[id])
    return {
        f"Where {winner.trial} gains most over {rival.trial}": gains,
        f"Where it loses most against {rival.trial}": losses,
        f"Worst captions of {winner.trial}": worst,
    }
