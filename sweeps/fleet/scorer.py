"""One scorer per node: its hosts share METEOR's JVM and the tokenized references.

An actor of the driver, so it ends with the sweep, however that ends, and its JVM with it. A
host that finds none on its own node (it was restarted on another one) takes any of the sweep's.
"""

import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from workers.metrics.scorer import Scored, Scorer

_LOST_SECONDS = 60.0
"""So long a scorer may be away: Ray starts it again, or its whole node ends, and its hosts too."""
_PAUSE_SECONDS = 0.5

References = Mapping[str, Sequence[str]]


class ScorerActor:
    """The scorers of one node; becomes an actor by `ray.remote`."""

    def __init__(self) -> None:
        self._scorers: dict[str, Scorer] = {}
        self._lock = threading.Lock()

    def start(self, key: str, given: list[Any]) -> None:
        """Start loading what scoring against the references in `given` needs."""
        self._scorer(key, given).start()

    def score_each(
        self, key: str, given: list[Any], several: Sequence[Mapping[str, str]]
    ) -> "list[Scored]":
        """Return the scores of each, one caption per image."""
        return self._scorer(key, given).score_each(several)

    def shutdown(self) -> None:
        """End the JVM."""
        for scorer in self._scorers.values():
            scorer.close()
        self._scorers.clear()

    def _scorer(self, key: str, given: list[Any]) -> "Scorer":
        """Return the scorer; `given` holds a reference of Ray's, fetched for a new one only."""
        from workers.metrics.scorer import Scorer

        with self._lock:
            if key not in self._scorers:
                self._scorers[key] = Scorer(*ray.get(given[0]))
            return self._scorers[key]


class NodeScorer:
    """A host's handle on the scorer of its node, used like `workers.metrics.scorer.Scorer`."""

    def __init__(self, sweep_id: str, metrics: Sequence[str], *references: References) -> None:
        arguments = (tuple(metrics), *references)
        own = _name(sweep_id, ray.get_runtime_context().get_node_id())
        there = ray.util.list_named_actors()
        others = sorted(name for name in there if name.startswith(_name(sweep_id, "")))
        self._actor = ray.get_actor(own if own in there or not others else others[0])
        self._key = hashlib.sha256(json.dumps(arguments).encode()).hexdigest()
        self._given = [ray.put(arguments)]

    def start(self) -> None:
        """Start loading what the metrics need running, and return at once."""
        self._actor.start.remote(self._key, self._given)

    def score(self, candidates: Mapping[str, str]) -> "Scored":
        """Return the scores; raises what `Scorer` raises."""
        return self.score_each([candidates])[0]

    def score_each(self, several: Sequence[Mapping[str, str]]) -> "list[Scored]":
        """Return the scores of each; raises what `Scorer` raises.

        Scoring has no side effect, so a call that a dying scorer has not answered is repeated.
        """
        deadline = time.monotonic() + _LOST_SECONDS
        while True:
            try:
                scored: list[Scored] = ray.get(
                    self._actor.score_each.remote(self._key, self._given, list(several))
                )
                return scored
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayActorError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def close(self) -> None:
        """Do nothing: the scorer serves other hosts and ends with the sweep."""


def start_scorer(sweep_id: str, node: str) -> Any:
    """Start the scorer of a node; it reserves nothing, hosts wait for it anyway."""
    affinity = NodeAffinitySchedulingStrategy(node, soft=True)
    options: Any = ray.remote(ScorerActor).options(
        name=_name(sweep_id, node), num_cpus=0, max_restarts=-1, scheduling_strategy=affinity
    )
    return options.remote()


def _name(sweep_id: str, node: str) -> str:
    return f"{sweep_id}/scorer-{node}"
