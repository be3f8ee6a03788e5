"""The memory that one trial takes, in named parts: estimated, and corrected by measurements.

On a GPU the peak is `torch.cuda.max_memory_allocated`, which counts tensors alone. On a CPU there
is no such number: the resident size of a process holds what was freed, and never shrinks. So
nothing is corrected there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from workers.memory import activations, weights
from workers.memory.layers import Architecture, row_of
from workers.recipe import Recipe

GPU_CONTEXT = 0.8e9
"""Bytes of CUDA's context, its kernels and the work space of its libraries, outside of tensors."""
CPU_CONTEXT = 0.9e9
"""Bytes of a process with torch, transformers, peft and MLflow, measured."""
_LOGIT_BYTES = 8
"""Bytes of each logit besides itself: log-softmax in float32, and its gradient."""
LEAST = 0.5
"""No correction goes below: what was measured so far may have had short captions only."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes on a device, by what takes them."""

    base: float
    """The frozen weights."""
    adapter: float
    """Trained weights, their gradients and AdamW's moments."""
    activations: float
    """Kept by a step between forward and backward, and its largest block's gradients."""
    logits: float
    """At the positions that are learned, with their gradients."""
    generation: float
    """Keys and values of all beams while captions are written; a step does not run then."""
    context: float
    """The process's own."""

    @property
    def total(self) -> float:
        """Bytes at the peak: training a step or writing captions, whichever takes more."""
        return self.fixed + max(self.step, self.generation)

    @property
    def step(self) -> float:
        """Bytes that come and go with each step."""
        return self.activations + self.logits

    @property
    def fixed(self) -> float:
        """Bytes that are there between two steps, too; all but the context is exact."""
        return self.base + self.adapter + self.context

    def times(self, slots: int) -> "Footprint":
        """Return that of a host with so many such trials in one forward.

        Base and context are there once. Trials that reach a rung together write their captions
        together, each for a usual batch of images at a time.
        """
        return replace(self, adapter=slots * self.adapter).scaled(slots, slots)

    def scaled(self, training: float, writing: float) -> "Footprint":
        """Return it with all that is no weight multiplied: that of a step, that of captions."""
        return replace(
            self,
            activations=training * self.activations,
            logits=training * self.logits,
            generation=writing * self.generation,
        )


def estimate(
    recipe: Recipe, base: Architecture, *, gpu: bool, rows: int | None = None
) -> Footprint:
    """Return the footprint of a trial of `recipe` with `rows` in one forward.

    None is ``train.batch_size``. Captions are written for a usual batch of images.
    """
    files, row = base.files, row_of(recipe, base.files)
    element = weights.element_bytes(recipe.model.dtype, gpu=gpu)
    how = activations.keeping(files, element, gpu=gpu)
    rows = recipe.train.batch_size if rows is None else rows
    # A quantized base is unpacked one matrix at a time.
    unpacked = 0 if recipe.quantization == "none" else weights.largest_matrix(files)
    kept = activations.kept_bytes(recipe, base, row, how)
    working = activations.working_bytes(recipe, base, row, how)
    return Footprint(
        base=weights.base_bytes(files, recipe.quantization, recipe.model.dtype, gpu=gpu),
        adapter=weights.trained_weights(recipe, files) * weights.TRAINED_BYTES,
        activations=rows * (kept + working),
        logits=rows * row.learned * weights.vocabulary(files) * (element + _LOGIT_BYTES),
        generation=activations.generation_bytes(recipe.evaluate, base, row, how),
        context=(GPU_CONTEXT if gpu else CPU_CONTEXT) + unpacked * element,
    )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Bytes of tensors on a GPU, while a step was taken or captions were written."""

    peak: float
    """Most at a time."""
    held: float
    """Bytes still there afterwards: weights, moments, kept features."""

    def ratio(self, estimated: float) -> float | None:
        """Return the bytes that came and went, by those that were estimated."""
        return max(0.0, self.peak - self.held) / estimated if estimated else None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Factors of an estimate: measured by estimated bytes, where anything was measured."""

    training: float | None = None
    """Factor of a step."""
    writing: float | None = None
    """Factor of captions."""

    def after_step(self, estimated: float, reading: Reading) -> "Correction":
        """Return it after one more step, of which `estimated` bytes were expected."""
        return replace(self, training=_largest(self.training, reading.ratio(estimated)))

    def after_captions(self, estimated: float, reading: Reading) -> "Correction":
        """Return it after one more batch of captions, see `after_step`."""
        return replace(self, writing=_largest(self.writing, reading.ratio(estimated)))

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


def _largest(*ratios: float | None) -> float | None:
    """Return the largest ratio of some: too little is to be estimated only once."""
    return max((each for each in ratios if each is not None), default=None)
