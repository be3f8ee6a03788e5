"""What a rung of the ladder is told: plain values in a JSON file, of no project at all."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of one rung."""

    work: str
    """Empty folder of this run, absolute; MLflow's store is ``tracking.db`` in it."""
    data: str
    """Folder of images with captions.csv, train.txt and validation.txt."""
    base: str
    """Folder of the base model's checkpoint."""
    targets: str
    """Regular expression over paths of the layers that get an adapter."""
    points: list[dict[str, Any]]
    epochs: int
    batch_size: int
    evaluation_batch: int
    dropout: float
    warmup: float
    """Share of all optimizer steps."""
    max_new_tokens: int
    seed: int = 0
    asha: bool = False
    """Whether ASHA stops trials (grace 2, reduction 3), instead of none being stopped."""
    processes: int = 2
    """Trials at a time, a process each; of P the hosts, 0 for as many as it takes by itself."""
    threads: int = 1
    """Of torch, in each process."""
    gpus: int = 0
    keep_meteor: bool = False
    """Whether METEOR's Java lives as long as its trial (B0m), instead of one evaluation."""
    compiled: bool = False
    """Whether torch.compile is applied (B3)."""

    @property
    def tracking(self) -> str:
        """MLflow's store."""
        return f"sqlite:///{self.work}/tracking.db"

    def write(self) -> Path:
        """Write the job into its folder and return the file."""
        path = Path(self.work) / "job.json"
        path.write_text(json.dumps(asdict(self), indent=1))
        return path

    @classmethod
    def read(cls, path: str | Path) -> "Job":
        """Return the job that `write` wrote."""
        return cls(**json.loads(Path(path).read_text()))


EXPERIMENT = "ladder"
"""MLflow's experiment, of whichever rung."""
