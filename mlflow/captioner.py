"""The registered captioner: a base model with one adapter behind MLflow's pyfunc interface.

MLflow stores this file as it is and runs it when the model is loaded (models from code), with
the `workers` package beside it; nothing is pickled. Heavy imports wait for `load_context`, so
that logging the model is quick.
"""

from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE  # answered as HTTP 400

from workers.inference.caption_requests import CaptionRequest, RequestError


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


class CaptionerModel(mlflow.pyfunc.PythonModel):
    """Captions images with the base, quantization and adapter that `model_config` names."""

    def load_context(self, context: Any) -> None:
        """Load the base and the adapter, on a GPU if there is one."""
        from workers.families.prompts import PromptBuilder
        from workers.inference import captioner
        from workers.inference.predict import Adapted
        from workers.recipe import Model, PromptText

        config = context.model_config
        model = Model(
            base=config["base"],
            revision=config["revision"],
            dtype=config["dtype"],
            unquantized_modules=config.get("unquantized_modules"),
            min_pixels=config.get("min_pixels"),
            max_pixels=config.get("max_pixels"),
        )
        adapter = Path(context.artifacts["adapter"])
        folder = config.get("images")
        self._captioner = captioner.Captioner.of(
            Adapted.load(model, config["quantization"], adapter),
            PromptBuilder(task=config["task"], prompt=PromptText(**config["prompt"])),
            beams=config["beams"],
            max_new_tokens=config["max_new_tokens"],
            folder=Path(folder) if folder else None,
        )

    def predict(self, model_input: list[CaptionRequest]) -> list[str]:
        """Return one caption per request, in order. Raises `Refusal` for an unusable one."""
        try:
            return self._captioner.answer(model_input)
        except RequestError as error:
            raise Refusal(str(error)) from None


mlflow.models.set_model(CaptionerModel())
