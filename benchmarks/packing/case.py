"""What is measured: one base, one batch size, and the batches, the same ones for all ways."""

import random
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image

from benchmarks.ladder.frozen_vision import Kept
from workers.data.sample import Sample
from workers.encoding import collation
from workers.families.base import Base
from workers.families.prompts import PromptBuilder
from workers.models.loading import load_base
from workers.recipe import Model

IMAGES, SIZE = 32, 448
"""Images of the data set; width and height of each, pixels."""
CAPTIONS, WORDS = 8, 8
"""Of an image, and of a caption; a word becomes several tokens of the small tokenizers."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the table, but for the way it is trained."""

    model: str
    folder: str
    """Checkpoint, see `benchmarks.packing.sizes`."""
    batch: int
    """Examples of one adapter in a step."""
    quantization: str
    device: str
    rank: int = 16
    dropout: float = 0.05
    warmup: int = 5
    """Steps before the clock runs."""
    steps: int = 30
    """Steps that are timed."""


Arguments = dict[str, Any]
"""Of the model's `forward`; beside them ``predicting``, row and position of what predicts a label,
and ``targets``, the labels: (predicted tokens,) each."""


def load(case: Case) -> Base:
    """Return the frozen base on its device."""
    return load_base(Model(base=case.folder), case.quantization, torch.device(case.device))


def samples() -> list[Sample]:
    """Return images of noise, each with captions of random words; always the same ones."""
    chance = random.Random(0)
    made = []
    for number in range(IMAGES):
        noise = Image.frombytes("RGB", (SIZE, SIZE), chance.randbytes(3 * SIZE * SIZE))
        captions = tuple(
            " ".join("".join(chance.choices("abcdef", k=4)) for _ in range(WORDS))
            for _ in range(CAPTIONS)
        )
        made.append(Sample(id=str(number), open=noise.copy, captions=captions))
    return made


def batches(base: Base, case: Case) -> list[Arguments]:
    """Return all images in batches that lie on the device, behind the frozen vision tower."""
    every = samples()
    every = every * (-(-case.batch // len(every)))
    parts = [every[start : start + case.batch] for start in range(0, len(every), case.batch)]
    kept = [_without_pixels(base, _collated(base, part)) for part in parts]
    if base.model.config.model_type == "git":
        base.model.git.image_encoder, base.model.git.visual_projection = Kept(), torch.nn.Identity()
    return [_label_positions(base, batch) for batch in kept]


def _collated(base: Base, part: list[Sample]) -> Arguments:
    images = [base.family.encode(base, sample.open()) for sample in part]
    prompts = [PromptBuilder().build(base.family, None, sample.id) for sample in part]
    batch = collation.training_batch(base, images, prompts, [s.captions[0] for s in part])
    return {name: tensor.to(base.device) for name, tensor in batch.items()}


@torch.no_grad()
def _without_pixels(base: Base, batch: Arguments) -> Arguments:
    """Put what the vision tower makes of the images in their place."""
    model, pixels = base.model, batch.pop("pixel_values")
    if model.config.model_type == "git":
        seen = model.git.image_encoder(pixels.to(model.dtype)).last_hidden_state
        return batch | {"pixel_values": model.git.visual_projection(seen).unsqueeze(1)}
    grid = {key: batch[key] for key in ("image_grid_thw",) if key in batch}
    encode = partial(model.model.get_image_features, return_dict=True)
    seen = encode(pixels.to(model.dtype), **grid).pooler_output
    return batch | {"mm_encoder_outputs": {"image": SimpleNamespace(pooler_output=seen)}}


def _label_positions(base: Base, batch: Arguments) -> Arguments:
    """Tell which positions predict a label, and which: all others need no logits."""
    labels = batch.pop("labels")
    predicting = torch.zeros_like(labels, dtype=torch.bool)
    predicting[:, :-1] = labels[:, 1:] != collation.IGNORED
    targets = labels[:, 1:][predicting[:, :-1]]
    if base.model.config.model_type == "git":  # the model puts the image in front of the text
        tokens = base.model.git.encoder.layer[0].attention.self.image_patch_tokens
        predicting = torch.cat((predicting.new_zeros(len(labels), tokens), predicting), dim=1)
    # As indices: a GPU would make the host wait for those of a mask, in every step.
    return batch | {"predicting": predicting.nonzero(as_tuple=True), "targets": targets}
