"""The serve check: a registered model, loaded by plain MLflow, writes the captions of the trial.

MLflow loads it in a process of its own, with the files that were registered, not those of this
process.
"""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.promotion.gate import Check
from sweeps.tracking.client import Tracking
from workers.data.sample import Sample
from workers.recipe import Recipe
from workers.redaction import redact

if TYPE_CHECKING:
    from workers.inference.predict import Adapted

IMAGES = 8
"""Number of test images that are captioned; one batch of the captioner."""
_MAX_SIDE = 1024
"""Pixels; larger images are scaled down, for both."""
_MAX_TOKENS = 64
"""Tokens of a caption that are compared: models that agree so far agree."""

_PROGRAM = """
import gc, json, sys
gc.disable()
import mlflow.pyfunc, peft
gc.enable()
print("ready", flush=True)
uri, requests = json.load(sys.stdin)
model = mlflow.pyfunc.load_model(uri)
captions = model.predict(requests)
print(json.dumps({"captions": captions, "quantization": model.model_config["quantization"]}))
"""


@dataclass(frozen=True, kw_only=True)
class ExpectedCaptions:
    """Requests to a served model, and the captions of the trial's adapter for them."""

    requests: list[dict[str, Any]] = field(repr=False)
    captions: dict[str, str]
    """Sample id -> caption, in the order of the requests."""
    quantization: str
    weights: int
    """Tensors in the adapter's file."""
    unloaded: tuple[str, ...]
    """Names of those that peft did not load."""


def write_expected(
    adapted: "Adapted", recipe: Recipe, adapter: Path, samples: Sequence[Sample]
) -> ExpectedCaptions:
    """Caption the first of the samples with the trial's adapter, as a server's batch would."""
    from workers.evaluation.generation import generate
    from workers.families.prompts import PromptBuilder
    from workers.models.adapters import read_weights, unloaded_weights

    base, builder = adapted.base, PromptBuilder(task=recipe.task, prompt=recipe.prompt)
    tokens = min(recipe.evaluate.max_new_tokens, _MAX_TOKENS)
    chosen, images, requests = samples[:IMAGES], [], []
    for sample in chosen:
        image, file = sample.open().copy(), io.BytesIO()
        image.thumbnail((_MAX_SIDE, _MAX_SIDE))
        image.save(file, "PNG")  # without loss: both sides see the same pixels
        images.append(base.family.encode(base, image))
        encoded = base64.b64encode(file.getvalue()).decode()
        requests.append({"image": encoded, "max_new_tokens": tokens, "question": sample.question})
    prompts = [builder.build(base.family, sample.question, sample.id) for sample in chosen]
    beams = recipe.evaluate.final_beams
    captions = generate(base, adapted.model, images, prompts, beams=beams, max_new_tokens=tokens)
    return ExpectedCaptions(
        requests=requests,
        captions=dict(zip((sample.id for sample in chosen), captions, strict=True)),
        quantization=recipe.quantization,
        weights=len(read_weights(adapter)),
        unloaded=unloaded_weights(adapted.model, adapter),
    )


class PlainMlflow:
    """A process of its own with plain MLflow, which loads a model once it is asked.

    Until then it imports what a captioner needs, which takes seconds, while its caller goes on.
    """

    def __init__(self, tracking: Tracking) -> None:
        address = tracking.address
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],  # -P: nothing of this folder is imported
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MLFLOW_TRACKING_URI": address, "MLFLOW_REGISTRY_URI": address},
        )

    def wait(self) -> None:
        """Wait until it has imported all, and leaves its caller's cores alone."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def predict(self, uri: str, requests: list[dict[str, Any]]) -> dict[str, Any]:
        """Return captions and quantization of the model at `uri`, or error; the process ends."""
        output, errors = self._process.communicate(json.dumps([uri, requests]))
        if self._process.returncode:
            default = f"Python ended with {self._process.returncode}"
            lines = errors.strip().splitlines() or [default]
            return {"error": redact(lines[-1].strip())}
        answer: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        return answer

    def close(self) -> None:
        """End the process, if it was asked nothing."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def check(expected: ExpectedCaptions, answer: Mapping[str, Any]) -> Check:
    """Compare the answer of `PlainMlflow` with the expected one."""
    total, quantization = len(expected.captions), answer.get("quantization")
    served = answer.get("captions", expected.captions.values())
    pairs = zip(expected.captions.items(), served, strict=True)
    differing = [(id, trial, other) for (id, trial), other in pairs if trial != other]
    passed = not (expected.unloaded or "error" in answer or differing)
    if expected.unloaded:
        measured = (
            f"{len(expected.unloaded)} of the adapter's {expected.weights} weights were not "
            f"loaded, such as {expected.unloaded[0]}"
        )
    elif "error" in answer:
        measured = f"the registered model does not answer: {answer['error']}"
    elif differing:
        image, trial, other = differing[0]
        measured = (
            f"{len(differing)} of {total} captions differ, such as {image}: {other!r} served with "
            f"quantization {quantization}, {trial!r} by the trial with {expected.quantization}"
        )
    else:
        measured = (
            f"{total} of {total} captions equal, all {expected.weights} weights loaded, "
            f"quantization {quantization}"
        )
    required = "the trial's captions and all weights of the adapter"
    return Check(name="serve check", passed=passed, measured=measured, required=required)
