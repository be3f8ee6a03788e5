"""The memory that one trial takes, in named parts."""

from dataclasses import dataclass, replace

from workers.memory import activations, weights
from workers.memory.generation import generation_bytes
from workers.memory.layers import Architecture
from workers.memory.row import row_of
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Recipe

GPU_CONTEXT = 0.8e9
"""Bytes of CUDA's context, its kernels and the work space of its libraries, outside of tensors."""
CPU_CONTEXT = 0.9e9
"""Bytes of a process with torch, transformers, peft and MLflow, measured."""
_LOGIT_BYTES = 8
"""Of each logit besides itself: log-softmax in float32, and its gradient."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes on a device, by what takes them."""

    base: float
    """The frozen weights."""
    adapter: float
    """Trained weights, their gradients and AdamW's moments."""
    activations: float
    """What a step keeps between forward and backward, and its largest block's gradients."""
    logits: float
    """At the positions that are learned, with their gradients."""
    generation: float
    """Keys and values of all beams while captions are written; a step does not run then."""
    context: float
    """What the process takes for itself."""

    @property
    def total(self) -> float:
        """Bytes at the peak: training a step or writing captions, whichever takes more."""
        return self.fixed + max(self.step, self.generation)

    @property
    def step(self) -> float:
        """What comes and goes with each step."""
        return self.activations + self.logits

    @property
    def fixed(self) -> float:
        """What is there between two steps, too; all but the context is exact."""
        return self.base + self.adapter + self.context

    def times(self, slots: int) -> "Footprint":
        """Return that of a host with so many such trials in one forward.

        Base and context are there once. Trials that reach a rung together write their captions
        together, each for ``evaluate.batch_size`` images at a time.
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

    None is ``train.batch_size``. Captions are written for as many images as the recipe says.
    """
    files, row = base.files, row_of(recipe, base.files)
    element = weights.element_bytes(recipe.model.dtype, gpu=gpu)
    how = activations.keeping(files, element, gpu=gpu)
    rows = recipe.train.batch_size if rows is None else rows
    kept = activations.kept_bytes(recipe, base, row, how)
    working = activations.working_bytes(recipe, base, row, how)
    return Footprint(
        base=weights.base_bytes(files, recipe.quantization, recipe.model.dtype, gpu=gpu),
        adapter=weights.trained_weights(recipe, files) * weights.TRAINED_BYTES,
        activations=rows * (kept + working),
        logits=rows * row.learned * weights.vocabulary(files) * (element + _LOGIT_BYTES),
        generation=generation_bytes(recipe.evaluate, base, row, how),
        context=_context_bytes(recipe, files, gpu=gpu),
    )


def _context_bytes(recipe: Recipe, files: CheckpointFiles, *, gpu: bool) -> float:
    """Return what a process takes besides tensors, and one unpacked matrix of a quantized base."""
    unpacked = 0 if recipe.quantization == "none" else weights.largest_matrix(files)
    element = weights.element_bytes(recipe.model.dtype, gpu=gpu)
    return (GPU_CONTEXT if gpu else CPU_CONTEXT) + unpacked * element
