"""A captioner: a base with its adapter that answers requests, alone or many at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workers.data.images import open_rgb
from workers.evaluation.generation import generate
from workers.families.base import Base, Encoded
from workers.families.prompts import Asking, Prompt
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
    """A request as its model takes it: what is left to do is `generate`."""

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
    asking: Asking
    beams: int
    max_new_tokens: int
    """For requests that name none."""
    folder: Path | None = None
    """Where images may be named by path; None allows no path."""

    @classmethod
    def of(cls, adapted: Adapted, asking: Asking, **values: Any) -> "Captioner":
        """Return the captioner of a loaded base with one adapter."""
        return cls(base=adapted.base, model=lambda: adapted.model, asking=asking, **values)

    def prepare(self, request: CaptionRequest, name: str) -> Prepared:
        """Check and decode a request; `name` is what errors call it. Raises `RequestError`."""
        caption_requests.check(request, name)
        self.check_question(request.question, f"{name}.question")
        image = caption_requests.open_image(request, name, self.folder)
        return self.prepare_image(image, request, name)

    def prepare_image(self, image: "Image", request: CaptionRequest, name: str) -> Prepared:
        """Prepare a checked request whose image is decoded. Raises `RequestError`."""
        prompt = self._prompt(request.question, f"{name}.question")
        return self._prepared(image, prompt, request.max_new_tokens, name)

    def prepare_file(self, path: Path, question: str | None) -> Prepared:
        """Decode an image file of this machine's user. Raises `RequestError` or `ImageError`."""
        prompt = self._prompt(question, f"{path}: the question")
        return self._prepared(open_rgb(path), prompt, None, str(path))

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
            written = self.write([prepared[number] for number in numbers])
            captions |= zip(numbers, written, strict=True)
        return [captions[number] for number in range(len(prepared))]

    def answer(self, requests: Sequence[CaptionRequest]) -> list[str]:
        """Return one caption per request of a call, in order. Raises `RequestError`."""
        caption_requests.measure(requests, self.folder)
        return self.write_all(
            [self.prepare(request, f"inputs[{number}]") for number, request in enumerate(requests)]
        )

    def check_question(self, question: str | None, name: str) -> None:
        """Refuse a question to a model that takes none, and the reverse, with `RequestError`."""
        if question is not None and self.asking.task == "captioning":
            raise RequestError(f"{name} must be left out: this model captions and is asked nothing")
        if not question and self.asking.task == "vqa":
            raise RequestError(f"{name} must be the question about the image")
        tokens = self.base.processor.tokenizer(question or "")["input_ids"]
        if self.base.family.image_token(self.base) in tokens:
            raise RequestError(f"{name} must not contain the token that stands for an image")

    def _prepared(
        self, image: "Image", prompt: Prompt, max_new_tokens: int | None, name: str
    ) -> Prepared:
        encoded = self.base.family.encode(self.base, image)
        room = self._room(encoded, prompt, f"{name}.question")
        wanted = max_new_tokens or self.max_new_tokens
        return Prepared(image=encoded, prompt=prompt, max_new_tokens=min(wanted, room))

    def _prompt(self, question: str | None, name: str) -> Prompt:
        self.check_question(question, name)
        return self.asking.about(self.base.family, question, name)

    def _room(self, image: Encoded, prompt: Prompt, name: str) -> int:
        """Return how many tokens can follow the prompt."""
        used = len(self.base.family.prompt_tokens(self.base, image, prompt))
        room = self.base.positions - (0 if self.base.encoder_decoder else used)
        if used > self.base.positions or room < 1:
            raise RequestError(
                f"{name} must be shorter: with the image it has {used} tokens, and the model "
                f"takes {self.base.positions} in all"
            )
        return room


def batches(items: Sequence[Item], key: Callable[[Item], Any]) -> Iterator[list[Item]]:
    """Yield the items in lists of at most `BATCH` with equal keys, each in its first's place."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    for group in groups.values():
        for start in range(0, len(group), BATCH):
            yield group[start : start + BATCH]
