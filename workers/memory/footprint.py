"""The memory that one trial takes, in named parts: estimated, and corrected by measurements.

On a GPU the peak is `torch.cuda.max_memory_allocated`, which counts tensors alone. On a CPU there
is no such number: the resident size of a process holds what was freed, and never shrinks. So
nothing is corrected there.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from workers.measures import MemoryReading
from workers.memory import activations, weights
from workers.memory.layers import Architecture, DataExtent, row_of
from workers.memory.shared_terms import SharedTerms, most_rows
from workers.recipe import Recipe

GPU_CONTEXT = 0.8e9
"""Bytes of CUDA's context, its kernels and the work space of its libraries, outside of tensors."""
CPU_CONTEXT = 0.9e9
"""Bytes of a process with torch, transformers, peft and MLflow, measured."""
LOGIT_BYTES, SMOOTHED_BYTES = 14, 26
"""Bytes of each logit at the peak, which is in backward, without label smoothing and with it: in
the base's precision, as log-softmax in float32, and the gradients of both. Smoothing reads them
once more."""
LEAST = 0.5
"""No correction goes below: what was measured so far may have had short captions only."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes on a device, by what takes them."""

    base: float
    """The frozen weights."""
    adapter: float
    """Trained weights, their gradients and AdamW's moments: of a trial, or a row of its arena."""
    activations: float
    """Kept by a step between forward and backward, and its largest block's gradients."""
    logits: float
    """At the positions that are learned, with their gradients."""
    generation: float
    """Keys and values of all beams while captions are written; a step does not run then."""
    context: float
    """The process's own."""
    features: float = 0.0
    """Kept features of images, which leave the device when memory runs out."""
    copies: float = 0.0
    """Of the weights of a pack, while captions are written."""
    arenas: int = 0
    """Arenas that several such trials would be spread over; 0 for trials that are not packed."""

    @property
    def total(self) -> float:
        """Bytes at the peak: training a step or writing captions, whichever takes more."""
        return self.fixed + self.features + max(self.step, self.generation + self.copies)

    @property
    def step(self) -> float:
        """Bytes that come and go with each step."""
        return self.activations + self.logits

    @property
    def fixed(self) -> float:
        """Bytes that have to be there between two steps, too; all but the context is exact."""
        return self.base + self.adapter + self.context

    def times(self, slots: int) -> "Footprint":
        """Return that of a host with so many such trials in one forward.

        Base, features and context are there once. An arena has rows in reserve. Trials that reach
        a rung together write their captions together, each for a usual batch of images.
        """
        rows = most_rows(slots, min(slots, self.arenas)) if self.arenas else slots
        whole = replace(self, adapter=rows * self.adapter, copies=slots * self.copies)
        return whole.scaled(slots, slots)

    def scaled(self, training: float, writing: float) -> "Footprint":
        """Return it with all that is no weight multiplied: that of a step, that of captions."""
        return replace(
            self,
            activations=training * self.activations,
            logits=training * self.logits,
            generation=writing * self.generation,
        )


def estimate(
    recipe: Recipe,
    base: Architecture,
    *,
    gpu: bool,
    rows: int | None = None,
    terms: SharedTerms | None = None,
    data: DataExtent | None = None,
    image: int | None = None,
) -> Footprint:
    """Return the footprint of a trial of `recipe` with `rows` in one forward.

    None is ``train.batch_size``. `terms` are those of its pack, None of the trial alone; `data` is
    known once it is read. Captions are written for a usual batch of images.
    """
    files, row = base.files, row_of(recipe, base.files, data, image)
    terms = terms or SharedTerms.alone(recipe, files)
    element = weights.element_bytes(recipe.model.dtype, gpu=gpu)
    model = recipe.model
    how = activations.keeping(files, element, gpu=gpu, attention=model.attn_implementation)
    rows = recipe.train.batch_size if rows is None else rows
    # A quantized base is unpacked one matrix at a time.
    unpacked = 0 if recipe.quantization == "none" else weights.largest_matrix(files)
    kept = activations.kept_bytes(recipe, base, row, how, terms)
    working = activations.working_bytes(recipe, base, row, how, terms)
    trained = terms.row_weights(files) if terms.packed else weights.trained_weights(recipe, files)
    compute = recipe.adapter.compute_dtype
    rounding = compute == "bfloat16" or (compute == "auto" and gpu and element == 2)
    rounded = weights.ROUNDED_BYTES if terms.packed and rounding else 0
    logit = SMOOTHED_BYTES if terms.smoothed else LOGIT_BYTES
    return Footprint(
        base=weights.base_bytes(files, model, recipe.quantization, gpu=gpu),
        adapter=trained * (weights.TRAINED_BYTES + rounded),
        activations=rows * (kept + working),
        logits=rows * row.learned * weights.vocabulary(files) * logit,
        generation=activations.generation_bytes(recipe.evaluate, base, row, how),
        context=(GPU_CONTEXT if gpu else CPU_CONTEXT) + unpacked * element,
        copies=trained * activations.FLOAT32 if terms.packed else 0.0,
        arenas=int(terms.packed),
    )


def feature_bytes(
    recipe: Recipe, base: Architecture, *, gpu: bool, data: DataExtent | None
) -> float:
    """Return the bytes of the features of all images, of which a host may keep less.

    They are what the language model gets of an image. Infinite for data that is not read yet.
    """
    if not base.files.family.vision:
        return 0.0
    if data is None:
        return math.inf
    tokens = row_of(recipe, base.files, data).image
    width = base.towers[-1].blocks[0].width if base.towers else 0
    traits = base.files.family.traits
    layers = traits.feature_layers if traits else 1
    element = weights.element_bytes(recipe.model.dtype, gpu=gpu)
    return data.images * tokens * layers * width * element


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Factors of an estimate: measured by estimated bytes, where anything was measured."""

    training: float | None = None
    """Factor of a step."""
    writing: float | None = None
    """Factor of captions."""

    def after_step(self, estimated: float, reading: MemoryReading) -> "Correction":
        """Return it after one more step, of which `estimated` bytes were expected."""
        return replace(self, training=_largest(self.training, _ratio(reading, estimated)))

    def after_captions(self, estimated: float, reading: MemoryReading) -> "Correction":
        """Return it after one more batch of captions, see `after_step`."""
        return replace(self, writing=_largest(self.writing, _ratio(reading, estimated)))

    def of(self, estimated: Footprint) -> Footprint:
        """Return the corrected estimate; weights stay."""
        ratios = (self.training, self.writing)
        factors = (1.0 if ratio is None else max(LEAST, ratio) for ratio in ratios)
        return estimated.scaled(*factors)


def largest(corrections: Iterable[Correction]) -> Correction:
    """Return the correction for several hosts: the largest ratios that any has measured."""
    every = list(corrections)
    training = _largest(*(each.training for each in every))
    return Correction(training=training, writing=_largest(*(each.writing for each in every)))


def _ratio(reading: MemoryReading, estimated: float) -> float | None:
    """Return the bytes that came and went, by those that were estimated."""
    return max(0.0, reading.peak - reading.held) / estimated if estimated else None


def _largest(*ratios: float | None) -> float | None:
    """Return the largest ratio of some: too little is to be estimated only once."""
    return max((each for each in ratios if each is not None), default=None)
