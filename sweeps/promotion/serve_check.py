"""The serve check: a registered model, loaded as anybody would, says what the trial's adapter says.

It is loaded in a process of its own, where MLflow runs the files that were registered, not those
of this process.
"""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.promotion.verdict import Check
from sweeps.tracking.client import Tracking
from workers.data.sample import Sample
from workers.recipe import Recipe
from workers.redaction import redact

if TYPE_CHECKING:
    from workers.inference.predict import Adapted

IMAGES = 8
"""As many test images are captioned; one batch of the captioner."""
_SIDE = 1024
"""Most pixels of a side: larger images are sent smaller, to both."""
_TOKENS = 64
"""Most new tokens: two models that agree so long agree."""
_NAME = "serve check"
_ASKED = "the trial's captions and all weights of the adapter"

_PROGRAM = """
import json, sys
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
captions = model.predict(json.load(sys.stdin))
print(json.dumps({"captions": captions, "quantization": model.model_config["quantization"]}))
"""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a served model is asked, and what it must say."""

    requests: list[dict[str, Any]] = field(repr=False)
    ids: tuple[str, ...]
    captions: tuple[str, ...]
    quantization: str
    weights: int
    """Tensors in the adapter's file."""
    unloaded: tuple[str, ...]
    """Those that peft did not load."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a served model said; `error` is why it could not."""

    captions: tuple[str, ...] = ()
    quantization: str = ""
    error: str | None = None


def expected(
    adapted: "Adapted", recipe: Recipe, adapter: Path, samples: Sequence[Sample]
) -> Expected:
    """Let the trial's adapter caption the first of the samples, as a server's batch would."""
    from workers.models.adapters import read_weights
    from workers.models.unloaded import unloaded

    chosen = samples[:IMAGES]
    images = [_small(sample) for sample in chosen]
    tokens = min(recipe.evaluate.max_new_tokens, _TOKENS)
    return Expected(
        requests=[
            {"image": _encoded(image), "max_new_tokens": tokens, "question": sample.question}
            for image, sample in zip(images, chosen, strict=True)
        ],
        ids=tuple(sample.id for sample in chosen),
        captions=tuple(_captions(adapted, recipe, chosen, images, tokens)),
        quantization=recipe.quantization,
        weights=len(read_weights(adapter)),
        unloaded=unloaded(adapted.model, adapter),
    )


def ask(uri: str, tracking: Tracking, requests: list[dict[str, Any]]) -> Served:
    """Load the model at `uri` with plain MLflow in a fresh process and send it the requests."""
    address = tracking.address
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, uri],  # -P: nothing of this folder is imported
        input=json.dumps(requests), capture_output=True, text=True, check=False,
        env={**os.environ, "MLFLOW_TRACKING_URI": address, "MLFLOW_REGISTRY_URI": address},
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"Python ended with {done.returncode}"]
        return Served(error=redact(lines[-1].strip()))
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Served(captions=tuple(said["captions"]), quantization=said["quantization"])


def check(expected: Expected, served: Served) -> Check:
    """Compare what was said with what must be said."""
    problem = _problem(expected, served)
    fine = (
        f"{len(expected.captions)} of {len(expected.captions)} captions equal, all "
        f"{expected.weights} weights loaded, quantization {served.quantization}"
    )
    return Check(name=_NAME, passed=problem is None, measured=problem or fine, asked=_ASKED)


def _problem(expected: Expected, served: Served) -> str | None:
    if expected.unloaded:
        return (
            f"{len(expected.unloaded)} of the adapter's {expected.weights} weights were not "
            f"loaded, such as {expected.unloaded[0]}"
        )
    if served.error is not None:
        return f"the registered model does not answer: {served.error}"
    rows = zip(expected.ids, expected.captions, served.captions, strict=True)
    differing = [row for row in rows if row[1] != row[2]]
    if not differing:
        return None
    image, trial, answer = differing[0]
    return (
        f"{len(differing)} of {len(expected.captions)} captions differ, such as {image}: "
        f"{answer!r} served with quantization {served.quantization}, {trial!r} by the trial with "
        f"{expected.quantization}"
    )


def _captions(
    adapted: "Adapted", recipe: Recipe, samples: Sequence[Sample], images: Sequence[Any],
    tokens: int,
) -> list[str]:  # fmt: skip
    from workers.evaluation.generation import generate
    from workers.families.prompts import Asking

    family = adapted.base.family
    asking = Asking(task=recipe.task, prompt=recipe.prompt)
    return generate(
        adapted.base,
        adapted.model,
        [family.encode(adapted.base, image) for image in images],
        [asking.about(family, sample.question, sample.id) for sample in samples],
        beams=recipe.evaluate.final_beams,
        max_new_tokens=tokens,
    )


def _small(sample: Sample) -> Any:
    image = sample.open().copy()
    image.thumbnail((_SIDE, _SIDE))
    return image


def _encoded(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")  # without loss: both sides see the same pixels
    return base64.b64encode(file.getvalue()).decode()
