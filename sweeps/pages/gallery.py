"""Images with their captions: where the best trials differ, and where the winner is worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.board.leaderboard import Leaderboard
from sweeps.results import best, scores_file
from sweeps.results.folder import SweepFolder
from sweeps.results.pictures import ScoredImages
from sweeps.tracking.sweep_run import SweepRun
from workers.report import Prediction

TRIALS = 3
"""Best trials whose captions are shown."""
PER_GROUP = 4
"""Images under one heading."""


@dataclass(frozen=True, kw_only=True)
class Author:
    """A trial with its captions of the scored images, by its best rung."""

    trial: str
    title: str
    captions: Mapping[str, Prediction]
    scores: Mapping[str, float]
    """Sample id -> score of its caption alone; empty where none are kept."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image, and what is said about it."""

    id: str
    question: str | None
    references: tuple[str, ...]
    untrained: str | None
    """The base's caption; None where it is not kept."""
    captions: tuple[tuple[str, str, float | None], ...]
    """(trial, caption, its score) of each author."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures under headings, each picture once."""

    metric: str | None
    """What the scores are; None without scores."""
    groups: Mapping[str, tuple[Picture, ...]]


def authors(
    parent: SweepRun, folder: SweepFolder, board: Leaderboard, metric: str | None
) -> list[Author]:
    """Return the best trials whose captions are kept, best first."""
    made: list[Author] = []
    for trial in board.trials:
        if len(made) == TRIALS:
            break
        predictions = best.read_predictions(folder.best_adapter(trial.name))
        if predictions:
            run_id = board.run_ids.get(trial.name)
            scores = _scores(parent, run_id, metric) if run_id and metric else {}
            captions = {each.image_id: each for each in predictions}
            made.append(
                Author(trial=trial.name, title=trial.title, captions=captions, scores=scores)
            )
    return made


def metric_of(board: Leaderboard, outputs: Sequence[str]) -> str | None:
    """Return what captions of single images are judged by: the objective if it is a score."""
    return board.objective if board.objective in outputs else next(iter(outputs), None)


def choose(
    found: Sequence[Author], kept: ScoredImages, metric: str | None, *, higher: bool = True
) -> Gallery:
    """Return the images worth a look, of those with a picture as long as there are any.

    Where two trials have scores: on which the best one gains and loses most against the next.
    Then the worst of the best one; without scores the first images.

    Args:
        found: trials with captions, best first.
        kept: pictures.
        metric: what the authors' scores are.
        higher: whether more of it is better.
    """
    if not found:
        return Gallery(metric=None, groups={})
    winner = found[0]
    ids = [id for id in winner.captions if id in kept.pictures] or list(winner.captions)
    taken: set[str] = set()
    groups = {}
    for heading, wanted in _orders(found, ids, higher).items():
        chosen = [id for id in wanted if id not in taken][:PER_GROUP]
        taken |= set(chosen)
        if chosen:
            groups[heading] = tuple(_picture(id, found, kept) for id in chosen)
    return Gallery(metric=metric if winner.scores else None, groups=groups)


def _orders(found: Sequence[Author], ids: Sequence[str], higher: bool) -> dict[str, list[str]]:
    """Return heading -> ids, the most telling ones first."""
    winner, sign = found[0], 1 if higher else -1
    scored = [id for id in ids if id in winner.scores]
    if not scored:
        return {"The first images": list(ids)}
    own = {id: sign * winner.scores[id] for id in scored}
    worst = sorted(scored, key=lambda id: own[id])
    rival = next((each for each in found[1:] if each.scores), None)
    if rival is None:
        return {f"Worst captions of {winner.trial}": worst, "Its best captions": worst[::-1]}
    gain = {id: own[id] - sign * rival.scores[id] for id in scored if id in rival.scores}
    by_gain = sorted(gain, key=lambda id: -gain[id])
    return {
        f"Where {winner.trial} gains most over {rival.trial}": [
            id for id in by_gain if gain[id] > 0
        ],
        f"Where it loses most against {rival.trial}": [id for id in by_gain[::-1] if gain[id] < 0],
        f"Worst captions of {winner.trial}": worst,
    }


def _picture(id: str, found: Sequence[Author], kept: ScoredImages) -> Picture:
    return Picture(
        id=id,
        question=kept.questions.get(id),
        references=found[0].captions[id].references,
        untrained=kept.untrained.get(id),
        captions=tuple(
            (each.trial, each.captions[id].caption, each.scores.get(id))
            for each in found
            if id in each.captions
        ),
    )


def _scores(parent: SweepRun, run_id: str, metric: str) -> dict[str, float]:
    scores = scores_file.read(parent.client, run_id)
    if scores is None or metric not in scores.best.scored.images:
        return {}
    scored = scores.best.scored
    return dict(zip(scored.ids, map(float, scored.images[metric]), strict=True))
