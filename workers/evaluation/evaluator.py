"""The evaluation of a rung: validation loss, generated captions and their scores."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from workers.data.sample import Sample
from workers.encoding.collation import prompt_lengths
from workers.evaluation.generation import most_new_tokens, texts
from workers.families.base import Base, Batch
from workers.families.prompts import PromptBuilder
from workers.features.decoding import DecoderPool
from workers.features.images import BATCH, Progress
from workers.features.store import Store
from workers.metrics.scorer import Scored, Scorer
from workers.recipe import Evaluate
from workers.report import Prediction
from workers.training.loop import Examples, mean_loss


class Evaluator:
    """Scores one base with any adapter on one set of images, all of them always."""

    def __init__(
        self,
        base: Base,
        samples: Sequence[Sample],
        scorer: Scorer,
        evaluate: Evaluate,
        prompts: PromptBuilder | None = None,
        store: Store | None = None,
        decoders: DecoderPool | None = None,
    ) -> None:
        self._base = base
        self._evaluate = evaluate
        self._scorer = scorer
        self._examples = Examples.of(base, samples, prompts, store, decoders)
        self.samples = tuple(samples)

    def prepare(self, progress: Progress) -> None:
        """Make what can be made of the images before they are needed."""
        self._examples.pixels.prepare(progress)
        self._examples.pixels.expect(range(len(self.samples)))

    @cached_property
    def new_tokens(self) -> tuple[int, int]:
        """The most tokens of a caption, and the tokens of the prompt that leaves so many.

        Looked at are the images with the longest prompts, as many as a batch takes.
        """
        prompts = self._examples.prompts
        chosen = sorted(range(len(prompts)), key=lambda index: -len(prompts[index].text))[:BATCH]
        images = self._examples.pixels.of(chosen)
        longest = max(prompt_lengths(self._base, images, [prompts[index] for index in chosen]))
        return most_new_tokens(self._base, longest, self._evaluate.max_new_tokens), longest

    def loss(self, model: Any) -> float:
        """Return the mean loss over all captions of the images."""
        return mean_loss(self._base, model, self._examples, self._evaluate.usual_batch)

    def batches(self, copies: int) -> Iterator[Batch]:
        """Return all captions of the images as batches, each for `copies` adapters in a row."""
        return self._examples.batches(self._base, self._evaluate.usual_batch, copies)

    def predict(
        self,
        model: Any,
        beams: int,
        seconds: list[list[float]] | None = None,
        copies: int = 1,
        at_once: int | None = None,
    ) -> list[tuple[Prediction, ...]]:
        """Write a caption or an answer for every image, with each adapter that `model` carries.

        `at_once` are the images in a batch that fit, from `DeviceMemory.captions`; None where that
        is not known. `seconds` is as in `workers.evaluation.generation.texts`.
        """
        size = at_once or self._evaluate.usual_batch
        written = texts(
            self._base,
            model,
            self._examples.pixels,
            self._examples.prompts,
            copies=copies,
            beams=beams,
            batch_size=size,
            order=self._order(size),
            max_new_tokens=self._evaluate.max_new_tokens,
            seconds=seconds,
        )
        return [
            tuple(
                Prediction(image_id=sample.id, caption=caption, references=sample.captions)
                for sample, caption in zip(self.samples, captions, strict=True)
            )
            for captions in zip(*written, strict=True)
        ]

    def _order(self, size: int) -> Sequence[int]:
        """Return the images in the order in which batches of that size take them.

        On a GPU prompts of similar length share a batch. On a CPU results are repeatable to the
        last bit, which padding changes: there the order is the images' own.
        """
        one_batch = size >= len(self.samples)
        if one_batch or self._base.device.type == "cpu":
            return range(len(self.samples))
        return self._longest_first

    @cached_property
    def _longest_first(self) -> list[int]:
        """The images by the tokens of their prompts: what does not fit is seen at once."""
        lengths: list[int] = []
        for start in range(0, len(self.samples), BATCH):
            some = range(start, min(start + BATCH, len(self.samples)))
            prompts = [self._examples.prompts[index] for index in some]
            lengths += prompt_lengths(self._base, self._examples.pixels.of(some), prompts)
        return sorted(range(len(lengths)), key=lambda index: -lengths[index])

    def score_each(self, several: Sequence[Sequence[Prediction]]) -> list[Scored]:
        """Return the metrics of several adapters' captions, over all images and of each image."""
        captions = [{p.image_id: p.caption for p in predictions} for predictions in several]
        return self._scorer.score_each(captions)
