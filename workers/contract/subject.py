"""A base that is checked, and the images and captions with which it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from workers import traits
from workers.data.sample import Sample
from workers.encoding import collation
from workers.encoding.collation import IGNORED
from workers.families.base import Base, Batch
from workers.families.prompts import PromptBuilder
from workers.features.store import Store
from workers.models.loading import load_base
from workers.recipe import Adapter, Data, Model, Recipe, Train
from workers.training.loop import Examples
from workers.training.losses import LearnedTokens, token_losses

CPU = torch.device("cpu")
SIZES = {
    "portrait": (96, 160),
    "landscape": (480, 320),
    "square": (112, 112),
    "strip": (2000, 40),
}
"""Images of unlike shapes: name -> width and height."""
CAPTIONS = ("crimson disc beside azure box", "a disc", "a box and a disc", "box")
QUESTIONS = ("what is beside the box?", "which?", "is there a disc, and what is it?", "what?")
"""Prompts are as unlike in length as images in shape."""


def drawn(size: tuple[int, int], seed: int) -> Image.Image:
    """Return an image of that size on which no two places are alike."""
    width, height = size
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    draw = ImageDraw.Draw(image)
    for number in range(6):
        x, y = (seed * 31 + number * 53) % width, (seed * 17 + number * 29) % height
        colour = (40 * number, 255 - 35 * number, (90 * number + 60 * seed) % 256)
        draw.ellipse((x, y, x + width // 4, y + height // 3), fill=colour)
    return image


def _sample(at: int) -> Sample:
    name, size = list(SIZES.items())[at]
    return Sample(
        id=name,
        open=lambda: drawn(size, at),
        captions=(CAPTIONS[at],),
        question=QUESTIONS[at],
    )


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A base, bare after every check as it was before it."""

    model: Model
    """A tiny checkpoint, on this machine."""
    base: Base
    source: Path | None = None
    """Folder of the config of the base that `model` stands for, if it stands for one."""
    targets: Sequence[str] = ()
    """Values of ``adapter.targets``; empty for the target sets of the family."""
    samples: tuple[Sample, ...] = field(default_factory=lambda: tuple(map(_sample, range(4))))

    @classmethod
    def of(cls, folder: str, source: Path | None = None, targets: Sequence[str] = ()) -> "Subject":
        """Load the checkpoint in `folder`; raises as `load_base` does."""
        model = Model(base=folder)
        base = load_base(model, "none", CPU)
        if base.family.traits is not None:  # to be seen, on another one, which is changed by it
            seen = traits.see(load_base(model, "none", CPU))
            base = replace(base, family=base.family.having(seen))
        _ = base.modules, base.linear_layers  # read while it is bare
        return cls(model=model, base=base, source=source, targets=targets)

    @cached_property
    def examples(self) -> Examples:
        """The image-caption pairs as pixels."""
        return self.examples_of(self.samples)

    def examples_of(
        self, samples: Sequence[Sample], store: Store | None = None, base: Base | None = None
    ) -> Examples:
        """Return the pairs of other samples, of features of their images, or for another base."""
        return Examples.of(base or self.base, samples, PromptBuilder(task="vqa"), store)

    @property
    def recipe(self) -> Recipe:
        """The recipe of a short trial; its data are not those of `samples`, which has no source."""
        return Recipe(
            model=self.model,
            data=Data(source="shapes"),
            train=Train(epochs=2, batch_size=2, learning_rate=1e-2),
            adapter=Adapter(rank=4, alpha=8.0, dropout=0.0),
        )


def losses(base: Base, model: Any, batch: Batch) -> torch.Tensor:
    """Return the loss of every learned token of a batch, row after row, (tokens,)."""
    labels = batch["labels"]
    tokens = LearnedTokens.of(base, labels, torch.zeros(len(labels)))
    return token_losses(base, model, batch, tokens)


def learned(batch: Batch, row: int = 0) -> list[int]:
    """Return the tokens of a row that have a label."""
    labels = batch["labels"][row]
    found: list[int] = labels[labels != IGNORED].tolist()
    return found


def logits_by_hand(base: Base, model: Any, batch: Batch) -> torch.Tensor:
    """Return the logits (tokens, vocabulary) from which the learned tokens of one row follow.

    From the places of tokens alone: those of a single row are its last ones, and each is predicted
    one place before itself.
    """
    count = len(learned(batch))
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    inputs = collation.on_device(base, inputs)
    if base.encoder_decoder:
        inputs["decoder_input_ids"] = torch.cat([start_of(base), batch["labels"][:, :-1]], dim=1)
        return model(**inputs).logits[0, :count].float()  # type: ignore[no-any-return]
    return model(**inputs).logits[0, -count - 1 : -1].float()  # type: ignore[no-any-return]


def ends_of(base: Base) -> list[int]:
    """Return the tokens at which generation stops."""
    configured = base.model.generation_config.eos_token_id
    return list(configured) if isinstance(configured, list) else [configured]


def start_of(base: Base) -> torch.Tensor:
    """Return the token with which a decoder of its own begins, (1, 1)."""
    config = base.model.config
    parts = (config, config.get_text_config())
    found = [getattr(part, "decoder_start_token_id", None) for part in parts]
    return torch.tensor([[next(token for token in found if token is not None)]])
