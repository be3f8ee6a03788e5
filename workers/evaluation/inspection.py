"""Inspection of a recipe and its data before anything is trained.

Every image-text pair goes through the base's own processor, prompt and label mask; the result is
counted and shown. Nothing is kept but plain values.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from PIL import Image

from workers import data
from workers.data.sample import Sample
from workers.encoding import collation
from workers.encoding.collation import IGNORED
from workers.encoding.fitness import fitting
from workers.evaluation.scoring import with_words
from workers.families.base import Base
from workers.families.prompts import Prompt, PromptBuilder
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.models.targets import experts_note
from workers.recipe import Recipe
from workers.training.loop import Examples

INSPECTED = ("train", "validation")
"""Splits whose captions are learned or scored."""
_SIZES = 32
"""Sizes of images that are tried."""
_UNKNOWN = (640, 640)
"""Pixels of an image whose size is not known."""


@dataclass(frozen=True, kw_only=True)
class ExamplePair:
    """One image with one caption or answer, as the model gets it."""

    id: str
    prompt: str
    """All tokens before the target as text; a run of one token is written once: ``<x> x 16``."""
    target: str
    """All tokens that are learned, as text."""
    prompt_tokens: int
    target_tokens: int
    """Tokens of the whole target, end of text included."""
    learned_tokens: int
    """Those of them that have a label; fewer where the target is cut."""
    image_tokens: int
    """Those of the prompt that stand for the image; 0 where the model has none."""

    @property
    def coverage(self) -> float:
        """Share of the target's tokens that are learned."""
        return self.learned_tokens / self.target_tokens


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long the examples of some samples are, in tokens."""

    prompts: tuple[int, ...]
    """Of each sample, image tokens included."""
    images: tuple[int, ...]
    """Image tokens of each sample."""
    targets: tuple[int, ...]
    """Of each caption or answer, end of text included, before it is cut."""
    positions: int
    """Most tokens of one sequence."""
    truncated: tuple[str, ...]
    """Ids of samples with a target that is cut there."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The findings."""

    images: Mapping[str, int]
    """Split -> samples."""
    problems: tuple[str, ...]
    """Images and captions that were left out, one line each."""
    positions: int
    """Most tokens of one sequence."""
    pairs: tuple[ExamplePair, ...]
    quantizations: Mapping[str, str | None]
    """Name -> why the base cannot be trained under it; None where it can."""
    experts: str | None = None
    """What of a mixture of experts is adapted, see `workers.models.targets.experts_note`."""

    @property
    def truncated(self) -> tuple[str, ...]:
        """Ids of samples with a caption that was cut."""
        return tuple(dict.fromkeys(pair.id for pair in self.pairs if pair.coverage < 1.0))


def inspect(
    recipe: Recipe, quantizations: Sequence[str], device: torch.device | None = None
) -> Inspection:
    """Load the data, put each pair through the base, and train one step in each quantization.

    Raises ValueError as `workers.data.load` and `workers.models.loading.load_base` do.
    """
    device = device or torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    data_set = with_words(data.load(recipe.data), recipe.data, recipe.evaluate.metrics)
    base = load_base(recipe.model, "none", device)
    data_set = fitting(base, data_set, recipe.data)
    samples = [sample for split in INSPECTED for sample in data_set.splits[split]]
    examples = Examples.of(base, samples, PromptBuilder(task=recipe.task, prompt=recipe.prompt))
    return Inspection(
        images={split: len(part) for split, part in data_set.splits.items()},
        problems=data_set.problems,
        positions=base.positions,
        pairs=tuple(shown_pairs(base, examples)),
        quantizations={
            name: why_not_trained(recipe, name, examples, device) for name in quantizations
        },
        experts=experts_note({name: own.shape for name, own in base.model.named_parameters()}),
    )


def shown_pairs(base: Base, examples: Examples) -> Iterator[ExamplePair]:
    """Yield every pair as the model gets it."""
    for position, (index, target) in enumerate(examples.pairs):
        batch = examples.batch(base, [position])
        ids, labels = batch["input_ids"][0], batch["labels"][0]
        learned = labels[labels != IGNORED].tolist()
        before = (ids if base.encoder_decoder else ids[labels == IGNORED]).tolist()
        yield ExamplePair(
            id=examples.samples[index].id,
            prompt=_text(base, before),
            target=_text(base, learned),
            prompt_tokens=len(before),
            target_tokens=len(base.family.target_tokens(base, examples.prompts[index], target)),
            learned_tokens=len(learned),
            image_tokens=before.count(base.family.image_token(base)),
        )


def lengths(
    base: Base,
    samples: Sequence[Sample],
    builder: PromptBuilder,
    progress: Callable[[int, int], None] | None = None,
) -> Lengths:
    """Measure examples, with grey images of the samples' sizes in place of their own.

    Of many sizes some are tried, and each image counts as the next larger one of them. `progress`
    gets how many samples are done, of how many. Raises ValueError as `collation.training_row` does.
    """
    areas = sorted({sample.size or _UNKNOWN for sample in samples}, key=math.prod)
    tried = areas[:: -math.ceil(len(areas) / _SIZES)][::-1]  # the largest one is among them
    encoded = [base.family.encode(base, Image.new("RGB", size, "grey")) for size in tried]
    prompts, images, targets, truncated = [], [], [], []
    measured: dict[tuple[int, Prompt], tuple[int, int]] = {}
    image_token = base.family.image_token(base)
    for number, sample in enumerate(samples, 1):
        prompt = builder.build(base.family, sample.question, sample.id)
        place = bisect_left(tried, math.prod(sample.size or _UNKNOWN), key=math.prod)
        if (place, prompt) not in measured:
            tokens = base.family.prompt_tokens(base, encoded[place], prompt)
            measured[place, prompt] = len(tokens), tokens.count(image_token)  # type: ignore[arg-type]
        length, of_image = measured[place, prompt]
        room = collation.room_behind(base, length)
        own = [len(base.family.target_tokens(base, prompt, text)) for text in sample.captions]
        prompts.append(length)
        images.append(of_image)
        targets += own
        truncated += [sample.id] if max(own, default=0) > room else []
        if progress:
            progress(number, len(samples))
    return Lengths(
        prompts=tuple(prompts),
        images=tuple(images),
        targets=tuple(targets),
        positions=base.positions,
        truncated=tuple(truncated),
    )


def _text(base: Base, tokens: Iterable[int]) -> str:
    """Return tokens as text, special ones included."""
    parts: list[str] = []
    rest: list[int] = []
    for token, run in groupby(tokens):
        count = len(list(run))
        if token == base.family.image_token(base):
            parts += [_decoded(base, rest), f"{_decoded(base, [token])} x {count} "]
            rest = []
        else:
            rest += [token] * count
    return "".join([*parts, _decoded(base, rest)])


def _decoded(base: Base, tokens: list[int]) -> str:
    return str(base.processor.tokenizer.decode(tokens)) if tokens else ""


def why_not_trained(
    recipe: Recipe, quantization: str, examples: Examples, device: torch.device
) -> str | None:
    """Return why one step cannot be trained on the base so stored, or None."""
    try:
        base = load_base(recipe.model, quantization, device)
        adapted = AdaptedBase(base)
        adapted.attach("inspection", recipe.adapter, recipe.train.seed)
        batch = collation.on_device(base, examples.batch(base, [0]))
        loss = adapted.model.train()(**batch).loss
        if not math.isfinite(loss.item()):
            return f"the loss of the untrained base is {loss.item()}"
        loss.backward()
    except (ValueError, RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    gradients = [parameter.grad for parameter in adapted.parameters("inspection")]
    if not any(gradient is not None and gradient.any() for gradient in gradients):
        return "no adapter weight gets a gradient"
    return None
