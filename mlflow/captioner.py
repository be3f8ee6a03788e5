"""The registered captioner: a base model with one adapter behind MLflow's pyfunc interface.

MLflow stores this file as it is and runs it when the model is loaded (models from code), with
the `workers` package beside it; nothing is pickled. Heavy imports wait for `load_context`, so
that logging the model is quick.
"""

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE  # answered as HTTP 400
from pydantic import BaseModel

MAX_ENCODED = 28_000_000
"""Most characters of base64 in one image: about 20 MiB of JPEG or PNG."""
MAX_PIXELS = 50_000_000
MAX_NEW_TOKENS = 256
BATCH = 16
"""Most images in one `generate`."""


class CaptionRequest(BaseModel):
    """One image to caption or to ask about."""

    image: str
    """A JPEG, PNG or other usual image file in base64."""
    max_new_tokens: int = 40
    question: str | None = None
    """What is asked about the image; needed by, and only by, a model that answers questions."""


class Refusal(MlflowException):
    """A request that cannot be answered, in one sentence.

    MLflow's server writes the whole request, image and all, in front of the message of an
    `MlflowException`, and answers any other error with a stack trace. This one is an
    `MlflowException` whose message stays what it was.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason, error_code=INVALID_PARAMETER_VALUE)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "message" or not hasattr(self, "message"):
            super().__setattr__(name, value)


class Captioner(mlflow.pyfunc.PythonModel):
    """Captions images with the base, quantization and adapter that `model_config` names."""

    def load_context(self, context: Any) -> None:
        """Load the base and the adapter, on a GPU if there is one."""
        import torch
        from peft import PeftModel

        from workers.models import load_base
        from workers.prompts import Asking
        from workers.recipe import Model, PromptText

        config = context.model_config
        model = Model(base=config["base"], revision=config["revision"], dtype=config["dtype"])
        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        self._beams = config["beams"]
        self._asking = Asking(
            task=config.get("task", "captioning"), prompt=PromptText(**config.get("prompt", {}))
        )
        self._base = load_base(model, config["quantization"], device)
        adapted = PeftModel.from_pretrained(self._base.model, context.artifacts["adapter"])
        self._model = adapted.eval()

    def predict(self, model_input: list[CaptionRequest]) -> list[str]:
        """Return one caption per request, in order. Raises `Refusal` for an unusable one."""
        images = [decode(request, number) for number, request in enumerate(model_input)]
        prompts = [self._prompt(request, number) for number, request in enumerate(model_input)]
        captions: list[str] = []
        for start, end, max_new_tokens in batches(model_input):
            captions += self._captions(images[start:end], prompts[start:end], max_new_tokens)
        return captions

    def _prompt(self, request: CaptionRequest, number: int) -> Any:
        name = f"inputs[{number}].question"
        if request.question is not None and self._asking.task == "captioning":
            raise Refusal(f"{name} must be left out: this model captions and is asked nothing")
        if not request.question and self._asking.task == "vqa":
            raise Refusal(f"{name} must be the question about the image")
        return self._asking.about(self._base.family, request.question, name)

    def _captions(self, images: list[Any], prompts: list[Any], max_new_tokens: int) -> list[str]:
        from workers.generation import generate

        return generate(
            self._base,
            self._model,
            [self._base.family.encode(self._base, image) for image in images],
            prompts,
            beams=self._beams,
            max_new_tokens=max_new_tokens,
        )


def batches(requests: list[CaptionRequest]) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, max_new_tokens) of runs of at most `BATCH` equally long requests."""
    start = 0
    for end in range(1, len(requests) + 1):
        tokens = requests[start].max_new_tokens
        is_last = end == len(requests) or requests[end].max_new_tokens != tokens
        if is_last or end - start == BATCH:
            yield start, end, tokens
            start = end


def decode(request: CaptionRequest, number: int) -> Any:
    """Return the request's image, RGB and upright. Raises `Refusal`, naming the request."""
    from workers.data.images import ImageError, open_rgb

    name = f"inputs[{number}]"
    if not 1 <= request.max_new_tokens <= MAX_NEW_TOKENS:
        raise Refusal(
            f"{name}.max_new_tokens must be from 1 to {MAX_NEW_TOKENS}, "
            f"got {request.max_new_tokens}"
        )
    data = _bytes(request.image, f"{name}.image")
    _check_size(data, f"{name}.image")
    try:
        return open_rgb(data, f"{name}.image")
    except ImageError as error:
        raise Refusal(str(error)) from None


def _bytes(encoded: str, name: str) -> bytes:
    if len(encoded) > MAX_ENCODED:
        raise Refusal(
            f"{name} must have at most {MAX_ENCODED} characters of base64, got {len(encoded)}"
        )
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Refusal(f"{name} must be an image file in base64, got something else") from None


def _check_size(data: bytes, name: str) -> None:
    """Read only the header: a small file may decode to gigabytes."""
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as image:
            width, height = image.size
    except Exception:  # damaged bytes make Pillow's readers raise nearly anything
        raise Refusal(f"{name} is not an image of a known format") from None
    if width * height > MAX_PIXELS:
        raise Refusal(
            f"{name} must have at most {MAX_PIXELS} pixels, got {width} x {height}; send it smaller"
        )


mlflow.models.set_model(Captioner())
