"""What a run in MLflow has already, so that it is not told again."""

from dataclasses import dataclass
from typing import Any

RUNG_SECONDS = "time/rung_seconds"
"""A metric of every rung: it tells which rungs are stored."""
BEST_RUNG = "best/rung"


@dataclass(kw_only=True)
class Stored:
    """What the run has already."""

    rungs: set[int]
    best_rung: int | None
    tags: dict[str, str]
    images: set[str] | None = None
    """Keys and steps of logged images; None as long as nobody has looked."""

    @classmethod
    def of(cls, client: Any, run: Any) -> "Stored":
        """Ask MLflow for what `run` has."""
        history = client.get_metric_history(run.info.run_id, RUNG_SECONDS)
        best = run.data.metrics.get(BEST_RUNG)
        return cls(
            rungs={int(point.step) for point in history},
            best_rung=None if best is None else int(best),
            tags=dict(run.data.tags),
        )


def logged_images(client: Any, run_id: str) -> set[str]:
    """Return the images of a run; of the two files of each this is the one written last."""
    paths = [artifact.path for artifact in client.list_artifacts(run_id, "images")]
    return {
        path.removeprefix("images/").partition("+timestamp")[0]
        for path in paths
        if path.endswith(".webp")
    }
