"""Evidence of a promotion: the captions of both sides for the held-out images, scored.

The whole verdict is kept with the trial's run, a summary with the registered version.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from sweeps import names
from sweeps.promotion import serve_check
from sweeps.promotion.adapters import TrainedAdapter, with_progress
from sweeps.promotion.gate import TERMS, Evidence, Policy, Terms, Verdict
from sweeps.promotion.serve_check import PlainMlflow
from sweeps.quiet import heavy_imports, quiet_libraries
from sweeps.results.scores_file import Captions, captions_of, plain
from sweeps.tracking.client import Tracking, find_runs, set_tags
from workers.data.sample import DataSet, Sample
from workers.measures import PREFIX, latency_ms
from workers.measures import adapter as adapter_measures
from workers.metrics.catalog import VERSION
from workers.metrics.scorer import Scorer
from workers.recipe import Recipe

EVIDENCE = "gate.evidence"
"""Tag of a version: the address of the evidence of its last verdict."""
_TAGS = "gate."
_MAX_DESCRIPTION = 5000  # characters in MLflow's database
_FEW_IMAGES = 100  # are captioned without a progress bar


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The captioned test images, on which both sides are measured in the same way."""

    samples: tuple[Sample, ...] = field(repr=False)
    scorer: Scorer
    server: PlainMlflow
    """Loads the challenger as it is served."""
    batch_size: int | None
    """Images at a time, see ``evaluate.batch_size``."""
    console: Console

    @classmethod
    @contextmanager
    def open(cls, recipe: Recipe, tracking: Tracking, console: Console) -> Iterator["HeldOut"]:
        """Yield the test split (`load_samples`) with processes that run during the block."""
        samples, evaluate = load_samples(recipe), recipe.evaluate
        references = {sample.id: sample.captions for sample in samples}
        with (
            closing(PlainMlflow(tracking)) as server,
            closing(Scorer(evaluate.metrics, references)) as scorer,
        ):
            scorer.start()
            yield cls(
                samples=samples,
                scorer=scorer,
                server=server,
                batch_size=evaluate.batch_size,
                console=console,
            )

    def terms(self, recipe: Recipe) -> Terms:
        """Return the terms by which a recipe's adapter is judged here and now."""
        with heavy_imports():
            from workers.models.loading import identity

        return Terms(
            images=digest_images(self.samples),
            metrics=f"{VERSION}, pycocoevalcap {version('pycocoevalcap')}",
            base=identity(recipe.model),
        )

    def measure(
        self,
        adapter: TrainedAdapter,
        terms: Terms,
        *,
        bare: bool = False,
        served: str | None = None,
    ) -> Evidence:
        """Load an adapter, score its captions of all images, and free its memory.

        With its own beams, prompt, length and quantization, as it is served. `bare` measures its
        base without it. `served` is the address from which MLflow loads the same adapter: both
        must write the same captions. Raises ValueError for one that cannot be loaded.
        """
        with heavy_imports():
            quiet_libraries()  # before their first import, which is when they print
            from workers.families.prompts import PromptBuilder
            from workers.inference.predict import Adapted, predict
            from workers.memory.errors import release
            from workers.models.adapters import read_weights

        recipe, path, total = adapter.recipe, adapter.path, len(self.samples)
        title = f"{recipe.model.base} without an adapter" if bare else adapter.title
        self.console.print(f"{title}: {total} test images", soft_wrap=True)
        expected, seconds = None, list[list[float]]()
        adapted: Adapted | None = None
        try:
            adapted = Adapted.load(recipe.model, recipe.quantization, None if bare else path)
            if served:
                expected = serve_check.write_expected(adapted, recipe, path, self.samples)
                self.server.wait()  # captions are timed
            prompts = PromptBuilder(task=recipe.task, prompt=recipe.prompt)
            evaluate = recipe.evaluate.model_copy(update={"batch_size": self.batch_size})
            written = predict(adapted, self.samples, prompts, evaluate, seconds)
            if total > _FEW_IMAGES:
                written = with_progress(written, total, self.console)
            captions = {each.image_id: each.caption for each in written}
        finally:
            adapted = None
            release()  # before another model is loaded
        weights: Any = {} if bare else read_weights(path)
        evidence = Evidence(
            title=title,
            terms=terms,
            scored=self.scorer.score(captions),
            adapter_mb=adapter_measures(weights.values())[f"{PREFIX}adapter_mb"],
            latency_ms=latency_ms(seconds),
        )
        if served is None or expected is None:
            return evidence
        self.console.print("loading the registered model back, as it is served")
        answer = self.server.predict(served, expected.requests)
        return replace(evidence, checks=(serve_check.check(expected, answer),))


def load_samples(recipe: Recipe) -> tuple[Sample, ...]:
    """Return the test split; ValueError with the fix for under two images, or without captions."""
    from workers.data import load
    from workers.evaluation.scoring import with_words

    data_set: DataSet = load(recipe.data)
    data_set = with_words(data_set, recipe.data, recipe.evaluate.metrics)
    samples = data_set.splits["test"]
    bare = [sample.id for sample in samples if not sample.captions]
    if len(samples) < 2:
        counts = ", ".join(f"{name} {len(part)}" for name, part in data_set.splits.items())
        problem = f"at least two images, got {counts}"
    elif bare:
        problem = f"captions: {len(bare)} of its {len(samples)} images have none, such as {bare[0]}"
    else:
        return samples
    raise ValueError(
        f"the test split of data.path {recipe.data.path or recipe.data.source} must have "
        f"{problem}; a promotion is judged on images that no trial has seen: give data.split a "
        "share of captioned images for test (such as {train: 0.8, validation: 0.1, test: 0.1}) "
        "and run a new sweep"
    )


def digest_images(samples: Sequence[Sample]) -> str:
    """Return the SHA-256 of ids, questions and references, whatever their order."""
    judged = sorted([each.id, each.question or "", *each.captions] for each in samples)
    return hashlib.sha256(json.dumps(judged).encode()).hexdigest()


def count_uses(client: Any, run_id: str, digest: str, *, more: bool) -> int:
    """Return how often test images were used for a judgement, over all runs of the store.

    `more` counts one more use at the run of the trial. Each further use makes a gain by chance
    more likely.
    """
    tag = f"test.uses.{digest[:12]}"
    if more:
        own = client.get_run(run_id).data.tags.get(tag, "0")
        set_tags(client, run_id, {tag: str(int(own) + 1)})
    return sum(
        int(run.data.tags[tag])
        for experiment in client.search_experiments()
        for run in find_runs(client, experiment.experiment_id, names.has_tag(tag))
    )


def read_terms(tags: Mapping[str, str]) -> Terms | None:
    """Return the terms by which a version was judged, from its tags; None without a verdict."""
    found = {part: tags[_TAGS + part] for part in TERMS if _TAGS + part in tags}
    return Terms(**found) if found.keys() == TERMS.keys() else None


def stored_evidence(
    client: Any, tags: Mapping[str, str], terms: Terms, metrics: Sequence[str]
) -> Evidence | None:
    """Return the evidence of the version with these tags, if it is by these terms and metrics.

    None also when nothing was measured or the file is gone. Its beams, prompt and quantization
    are those of its recipe, which never changes.
    """
    from mlflow.exceptions import MlflowException

    if EVIDENCE not in tags:
        return None
    run_id, _, path = tags[EVIDENCE].removeprefix("runs:/").partition("/")
    with TemporaryDirectory() as local:
        try:
            text = Path(client.download_artifacts(run_id, path, local)).read_text("utf-8")
        except (OSError, MlflowException):
            return None
    written = json.loads(text)["challenger"]
    if written is None:
        return None
    found = Evidence(
        title=written["title"],
        terms=Terms(**written["terms"]),
        adapter_mb=written["adapter_mb"],
        latency_ms=written["latency_ms"],
        scored=captions_of(written["captions"]).scored,
    )
    usable = found.terms == terms and set(metrics) <= set(found.scored.statistics)
    return found if usable else None


def record_verdict(
    client: Any, adapter: TrainedAdapter, verdict: Verdict, policy: Policy, number: str, uses: int
) -> str:
    """Keep a verdict with the trial's run and on the page of version `number`.

    `uses` is how often the test images were used, now included. Returns the evidence's address.
    """
    at, evidence, run_id = datetime.now(UTC), verdict.evidence, adapter.run_id
    path = f"promotion/v{number}-{at:%Y%m%dT%H%M%S.%fZ}.json"
    address, beams = f"runs:/{run_id}/{path}", adapter.recipe.evaluate.final_beams
    checks = [asdict(check) for check in verdict.checks]
    for check in checks:
        check["asked"] = check.pop("required")
    content = {
        "model": policy.model,
        "version": int(number),
        "at": at.isoformat(timespec="seconds"),
        "passed": verdict.passed,
        "approved_by": policy.approved_by,
        "test_uses": uses,
        "verdict": {
            "challenger": verdict.challenger,
            "champion": verdict.champion,
            "checks": checks,
            "changes": [asdict(delta) for delta in verdict.deltas],
            "images": verdict.images,
            "confidence": verdict.confidence,
        },
        "challenger": evidence
        and {
            "title": evidence.title,
            "terms": asdict(evidence.terms),
            "adapter_mb": evidence.adapter_mb,
            "latency_ms": evidence.latency_ms,
            "captions": plain(Captions(beams=beams, scored=evidence.scored)),
        },
    }
    client.log_text(run_id, json.dumps(content, separators=(",", ":")), path)
    tags = {
        EVIDENCE: address,
        "gate.verdict": "passed" if verdict.passed else "refused",
        "gate.against": verdict.champion,
        "gate.reasons": "; ".join(verdict.reasons) or "none",
        "gate.test_uses": str(uses),
        **{_TAGS + part: value for part, value in asdict(verdict.terms).items()},
    }
    if gain := verdict.gain:
        numbers = {"gain": gain.gain, "low": gain.low, "high": gain.high}
        tags |= {_TAGS + name: f"{value:.6f}" for name, value in numbers.items()}
        tags["gate.objective"] = gain.output
    if policy.approved_by:
        tags["gate.approved_by"] = policy.approved_by
    for key in client.get_model_version(policy.model, number).tags:
        if key.startswith(_TAGS) and key not in tags:  # of an earlier verdict
            client.delete_model_version_tag(policy.model, number, key)
    for key, value in tags.items():
        client.set_model_version_tag(policy.model, number, key, value)
    description = verdict.markdown()[:_MAX_DESCRIPTION]
    client.update_model_version(policy.model, number, description=description)
    return address
