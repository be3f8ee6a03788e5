"""The outbox of a host: what its slots have to report, once their captions are scored."""

import itertools
from collections.abc import Mapping
from concurrent import futures
from dataclasses import dataclass

from workers import measures
from workers.evaluation.evaluator import Evaluator
from workers.host.rungs import Unscored
from workers.metrics.scorer import Scored
from workers.report import Done


@dataclass(frozen=True)
class _InScoring:
    """A slot's rung whose captions are being scored, with those of others."""

    rung: Unscored
    scores: futures.Future[list[Scored]]
    place: int
    """Of the slot's own among the scores."""


class Outbox:
    """Results of slots by name, in the order in which they were evaluated, and leave.

    Captions are scored in one thread, set after set; where a scorer is a handle on another
    process, the thread only waits for it.
    """

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="scores")
        self._results: dict[str, Done | _InScoring] = {}

    def __contains__(self, name: object) -> bool:
        """Return whether a slot has a result, complete or not."""
        return name in self._results

    def __len__(self) -> int:
        """Return how many results there are, complete or not."""
        return len(self._results)

    def add(self, done: Done) -> None:
        """Add a result that is complete."""
        self._results[done.name] = done

    def score(self, rungs: Mapping[str, Unscored], evaluator: Evaluator) -> None:
        """Add rungs of slots, to be scored together: all have captions, or none has."""
        captions = [rung.report.predictions for rung in rungs.values()]
        if not all(captions):
            for name, rung in rungs.items():
                self.add(Done(name=name, report=rung.with_scores(None)))
            return
        scores = self._thread.submit(evaluator.score_each, captions)
        for place, (name, rung) in enumerate(rungs.items()):
            self._results[name] = _InScoring(rung, scores, place)

    def is_complete(self, name: str) -> bool:
        """Return whether a slot's result is there to be taken."""
        result = self._results.get(name)
        return result.scores.done() if isinstance(result, _InScoring) else result is not None

    def complete(self) -> list[str]:
        """Return the slots with complete results, up to the first that is not complete."""
        return list(itertools.takewhile(self.is_complete, self._results))

    def take(self, name: str) -> Done:
        """Remove a complete result and return it; an error of the scorer is that of the slot."""
        result = self._results.pop(name)
        if isinstance(result, Done):
            return result
        try:
            scored = result.scores.result()[result.place]
        except Exception as error:
            return Done(name=name, error=error)
        return Done(name=name, report=result.rung.with_scores(scored))

    def discard(self, name: str) -> None:
        """Remove a slot's result, if there is one."""
        self._results.pop(name, None)

    def wait(self, seconds: float) -> None:
        """Wait until one more is complete, for so long at most; the others share that time."""
        scoring = [
            result
            for result in self._results.values()
            if isinstance(result, _InScoring) and not result.scores.done()
        ]
        if scoring:
            with measures.shared([each.rung.meter for each in scoring]):
                futures.wait({each.scores for each in scoring}, seconds, futures.FIRST_COMPLETED)

    def close(self) -> None:
        """End the thread when it has scored what it is at."""
        self._thread.shutdown(cancel_futures=True)
