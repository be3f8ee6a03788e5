"""A captioner: a base with its adapter that answers requests, one or many at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workers.data.images import open_rgb
from workers.evaluation.generation import generate, most_new_tokens
from workers.families.base import Base, Encoded
from workers.families.prompts import Prompt, PromptBuilder
from workers.inference import caption_requests
from workers.inference.caption_requests import CaptionRequest, RequestError
from workers.inference.predict import Adapted

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 16
"""Most images in one `generate`."""

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request as its model takes it, ready for `generate`."""

    image: Encoded
    prompt: Prompt
    max_new_tokens: int

    @property
    def size(self) -> int:
        """Bytes of the image's tensors."""
        return sum(tensor.nbytes for tensor in self.image.values())


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """A model that answers requests. `prepare` may run in many threads, `write` in one."""

    base: Base
    model: Callable[[], Any]
    """Returns the base's model with the adapter, in eval mode."""
    prompts: PromptBuilder
    beams: int
    max_new_tokens: int
    """For requests that name none."""
    folder: Path | None = None
    """Where images may be named by path; None allows no path."""

    @classmethod
    def of(cls, adapted: Adapted, prompts: PromptBuilder, **values: Any) -> "Captioner":
        """Return the captioner of a loaded base with one adapter."""
        return cls(base=adapted.base, model=lambda: adapted.model, prompts=prompts, **values)

    def prepare(self, request: CaptionRequest, name: str) -> Prepared:
        """Check and decode a request; `name` is what errors call it. Raises `RequestError`."""
        caption_requests.check(request, name)
        self.check_question(request.question, f"{name}.question")
        image = caption_requests.open_image(request, name, self.folder)
        return self.prepare_image(image, request, name)

    def prepare_image(self, image: "Image", request: CaptionRequest, name: str) -> Prepared:
        """Prepare a checked request whose image is decoded. Raises `RequestError`."""
        tokens = request.max_new_tokens
        return self._prepared(image, request.question, f"{name}.question", tokens)

    def prepare_file(self, path: Path, question: str | None) -> Prepared:
        """Decode an image file of this machine's user. Raises `RequestError` or `ImageError`."""
        return self._prepared(open_rgb(path), question, f"{path}: the question")

    def write(self, prepared: Sequence[Prepared]) -> list[str]:
        """Return a caption or answer of each; all must have equal `max_new_tokens`."""
        return generate(
            self.base,
            self.model(),
            [one.image for one in prepared],
            [one.prompt for one in prepared],
            beams=self.beams,
            max_new_tokens=prepared[0].max_new_tokens,
        )

    def write_all(self, prepared: Sequence[Prepared]) -> list[str]:
        """Return a caption or answer of each, in order, written in as few batches as can be."""
        captions: dict[int, str] = {}
        for numbers in batches(range(len(prepared)), lambda n: prepared[n].max_new_tokens):
            captions |= zip(numbers, self.write([prepared[n] for n in numbers]), strict=True)
        return [captions[number] for number in range(len(prepared))]

    def answer(self, requests: Sequence[CaptionRequest]) -> list[str]:
        """Return one caption per request of a call, in order. Raises `RequestError`."""
        caption_requests.measure(requests, self.folder)
        return self.write_all(
            [self.prepare(request, f"inputs[{number}]") for number, request in enumerate(requests)]
        )

    def check_question(self, question: str | None, name: str) -> None:
        """Refuse a question to a model that takes none, and the reverse, with `RequestError`."""
        if question is not None and self.prompts.task == "captioning":
            raise RequestError(f"{name} must be left out: this model captions and is asked nothing")
        if not question and self.prompts.task == "vqa":
            raise RequestError(f"{name} must be the question about the image")
        tokens = self.base.processor.tokenizer(question or "")["input_ids"]
        if self.base.family.image_tokens(self.base).intersection(tokens):
            raise RequestError(f"{name} must not contain the token that stands for an image")

    def _prepared(
        self, image: "Image", question: str | None, name: str, max_new_tokens: int | None = None
    ) -> Prepared:
        """Return a prepared request; `name` is what errors call the question."""
        self.check_question(question, name)
        base, prompt = self.base, self.prompts.build(self.base.family, question, name)
        encoded = base.family.encode(base, image)
        used = len(base.family.prompt_tokens(base, encoded, prompt))
        try:
            tokens = most_new_tokens(base, used, max_new_tokens or self.max_new_tokens)
        except ValueError:
            tokens = 0
        if used > base.positions or not tokens:
            raise RequestError(
                f"{name} must be shorter: with the image it has {used} tokens, and the model "
                f"takes {base.positions} in all"
            )
        return Prepared(image=encoded, prompt=prompt, max_new_tokens=tokens)


def batches(items: Sequence[Item], key: Callable[[Item], Any]) -> Iterator[list[Item]]:
    """Yield the items in lists of at most `BATCH` with equal keys, each in its first's place."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    for group in groups.values():
        for start in range(0, len(group), BATCH):
            yield group[start : start + BATCH]
