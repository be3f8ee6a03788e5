"""The test split on which a promotion is judged: images that no trial has seen."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from sweeps import names
from sweeps.tracking.client import find_runs, set_tags
from workers.data.sample import DataSet, Sample
from workers.recipe import Recipe

_USES = "test.uses"
_DIGITS = 12
"""Of the digest in a tag's name."""
_HOLD_OUT = (
    "a promotion is judged on images that no trial has seen: give data.split a share of captioned "
    "images for test (such as {train: 0.8, validation: 0.1, test: 0.1}) and run a new sweep"
)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Captioned test images."""

    samples: tuple[Sample, ...] = field(repr=False)

    @classmethod
    def of(cls, recipe: Recipe) -> "HeldOut":
        """Return the test split of a recipe's data.

        Raises ValueError, saying what to do, when it has fewer than two images or one without
        captions.
        """
        from workers.data import load

        data_set: DataSet = load(recipe.data)
        samples = data_set.splits["test"]
        where = f"the test split of data.path {recipe.data.path or recipe.data.source}"
        if len(samples) < 2:
            counts = ", ".join(f"{name} {len(part)}" for name, part in data_set.splits.items())
            raise ValueError(f"{where} must have at least two images, got {counts}; {_HOLD_OUT}")
        bare = [sample.id for sample in samples if not sample.captions]
        if bare:
            raise ValueError(
                f"{where} must have captions: {len(bare)} of its {len(samples)} images have none, "
                f"such as {bare[0]}; {_HOLD_OUT}"
            )
        return cls(samples=samples)

    @property
    def references(self) -> dict[str, tuple[str, ...]]:
        """The references of each image by its id."""
        return {sample.id: sample.captions for sample in self.samples}

    @property
    def digest(self) -> str:
        """SHA-256 of ids, questions and references, whatever their order."""
        judged = sorted([each.id, each.question or "", *each.captions] for each in self.samples)
        return hashlib.sha256(json.dumps(judged).encode()).hexdigest()


def count_uses(client: Any, run_id: str, digest: str, *, more: bool) -> int:
    """Return how often test images have judged anything, over all runs of the store.

    `more`: they just have, and that is noted at the run of the trial. Each further use makes a
    gain that is mere chance more likely.
    """
    tag = f"{_USES}.{digest[:_DIGITS]}"
    if more:
        own = client.get_run(run_id).data.tags.get(tag, "0")
        set_tags(client, run_id, {tag: str(int(own) + 1)})
    experiments = [each.experiment_id for each in client.search_experiments()]
    return sum(
        int(run.data.tags[tag])
        for experiment in experiments
        for run in find_runs(client, experiment, names.has_tag(tag))
    )
