"""Captions or answers by a trained adapter: no scheduler, no tracking, one process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from workers.data.sample import Sample
from workers.evaluation.generation import texts
from workers.families.base import Base
from workers.families.prompts import PromptBuilder
from workers.features.images import Pixels
from workers.models.attention import of_any_machine
from workers.models.loading import load_base
from workers.recipe import Evaluate, Model
from workers.report import Prediction

GPU_BATCH = 128
"""Images at a time on a GPU where rows do not change each other; fewer if memory runs out."""


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A base model with one adapter or none, ready to generate."""

    base: Base
    model: Any
    """The base wrapped by plain peft, or the bare base; in eval mode."""

    @classmethod
    def load(
        cls, model: Model, quantization: str, adapter: Path | None, device: str | None = None
    ) -> "Adapted":
        """Load the base, and onto it the adapter in a folder as peft saves it.

        `adapter` None leaves the base bare. `device` None takes the first GPU, or the CPU.
        Raises ValueError for a base that cannot be loaded or that the adapter does not fit.
        """
        chosen = torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
        base = load_base(of_any_machine(model), quantization, chosen)
        if adapter is None:
            return cls(base=base, model=base.model)
        try:
            adapted = PeftModel.from_pretrained(base.model, str(adapter))
        except (RuntimeError, ValueError) as error:  # other shapes, or no such layers
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"the adapter in {adapter} does not fit model.base {model.base}: {reason}"
            ) from error
        return cls(base=base, model=adapted.eval())


def predict(
    adapted: Adapted,
    samples: Sequence[Sample],
    builder: PromptBuilder,
    evaluate: Evaluate,
    seconds: list[list[float]] | None = None,
) -> Iterator[Prediction]:
    """Yield a caption or an answer for each sample, in order, batch by batch.

    With ``final_beams``, ``batch_size`` and ``max_new_tokens`` of `evaluate`; without a
    ``batch_size`` with `GPU_BATCH` on a GPU. `seconds` is as in
    `workers.evaluation.generation.texts`. Raises ValueError at once for a sample without the
    question that it needs.
    """
    base = adapted.base
    large = base.device.type == "cuda"
    usual = GPU_BATCH if large else evaluate.usual_batch
    prompts = [builder.build(base.family, sample.question, sample.id) for sample in samples]
    captions = texts(
        base,
        adapted.model,
        Pixels(base, samples, limit=0),  # each image is needed once
        prompts,
        beams=evaluate.final_beams,
        batch_size=evaluate.batch_size or usual,
        max_new_tokens=evaluate.max_new_tokens,
        seconds=seconds,
    )
    return (
        Prediction(image_id=sample.id, caption=caption, references=sample.captions)
        for sample, (caption,) in zip(samples, captions, strict=True)
    )
