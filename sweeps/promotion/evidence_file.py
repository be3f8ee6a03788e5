"""What stays of a verdict: the whole of it beside the trial, and a summary with the version."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sweeps.promotion.verdict import Evidence, Terms, Verdict
from sweeps.promotion.wording import markdown
from sweeps.results.scores_file import Captions, captions_of, plain

FOLDER = "promotion"
"""Among the artifacts of the trial's run."""
EVIDENCE = "gate.evidence"
"""Tag of a version: where the evidence of its last verdict stands."""
_OURS = "gate."
_TERMS = ("images", "metrics", "base")
_DESCRIPTION = 5000
"""Most characters of a description in MLflow's database."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict, what it rests on and how to come to it again."""

    model: str
    version: int
    verdict: Verdict
    terms: Terms
    """The challenger's."""
    challenger: Evidence | None
    """None when the two were not compared."""
    beams: int
    uses: int
    """How often the test images have judged by now."""
    approved_by: str | None


def write(client: Any, run_id: str, judged: Judged) -> str:
    """Store the evidence with the run of the trial; return its address for `read`."""
    at = datetime.now(UTC)
    path = f"{FOLDER}/v{judged.version}-{at:%Y%m%dT%H%M%S.%fZ}.json"
    client.log_text(run_id, json.dumps(_content(judged, at), separators=(",", ":")), path)
    return f"runs:/{run_id}/{path}"


def read(client: Any, address: str) -> Evidence | None:
    """Return what was measured of the challenger; None when it was not, or when it is gone."""
    from mlflow.exceptions import MlflowException

    run_id, _, path = address.removeprefix("runs:/").partition("/")
    with TemporaryDirectory() as local:
        try:
            text = Path(client.download_artifacts(run_id, path, local)).read_text("utf-8")
        except (OSError, MlflowException):
            return None
    written = json.loads(text)["challenger"]
    return None if written is None else _evidence(written)


def tag(client: Any, judged: Judged, address: str) -> None:
    """Say the verdict on the version's page: as tags, and with its table as the description."""
    name, version, verdict = judged.model, str(judged.version), judged.verdict
    tags = {**_summary(judged), EVIDENCE: address}
    before = client.get_model_version(name, version).tags
    for key in [key for key in before if key.startswith(_OURS) and key not in tags]:
        client.delete_model_version_tag(name, version, key)
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    client.update_model_version(name, version, description=markdown(verdict)[:_DESCRIPTION])


def terms_in(tags: Mapping[str, str]) -> Terms | None:
    """Return by what a version was judged, from its tags; None where no gate judged it."""
    found = {name: tags.get(f"gate.{name}") for name in _TERMS}
    return None if None in found.values() else Terms(**found)  # type: ignore[arg-type]


def _summary(judged: Judged) -> dict[str, str]:
    verdict = judged.verdict
    tags = {
        "gate.verdict": "passed" if verdict.passed else "refused",
        "gate.against": verdict.champion,
        "gate.reasons": "; ".join(verdict.reasons) or "none",
        "gate.test_uses": str(judged.uses),
        **{f"gate.{name}": getattr(judged.terms, name) for name in _TERMS},
    }
    gain = verdict.gain
    if gain:
        numbers = {"gain": gain.gain, "low": gain.low, "high": gain.high}
        tags |= {f"gate.{name}": f"{value:.6f}" for name, value in numbers.items()}
        tags["gate.objective"] = gain.output
    if judged.approved_by:
        tags["gate.approved_by"] = judged.approved_by
    return tags


def _content(judged: Judged, at: datetime) -> dict[str, Any]:
    challenger = judged.challenger
    return {
        "model": judged.model,
        "version": judged.version,
        "at": at.isoformat(timespec="seconds"),
        "passed": judged.verdict.passed,
        "approved_by": judged.approved_by,
        "test_uses": judged.uses,
        "verdict": asdict(judged.verdict),
        "challenger": _plain(challenger, judged.beams) if challenger else None,
    }


def _plain(evidence: Evidence, beams: int) -> dict[str, Any]:
    return {
        "title": evidence.title,
        "terms": asdict(evidence.terms),
        "adapter_mb": evidence.adapter_mb,
        "latency_ms": evidence.latency_ms,
        "captions": plain(Captions(beams=beams, scored=evidence.scored)),
    }


def _evidence(written: Mapping[str, Any]) -> Evidence:
    return Evidence(
        title=written["title"],
        terms=Terms(**written["terms"]),
        adapter_mb=written["adapter_mb"],
        latency_ms=written["latency_ms"],
        scored=captions_of(written["captions"]).scored,
    )
