"""Any other architecture that transformers loads and whose processor has a chat template.

What is assumed of it: one decoder, whose loss shifts the labels; the processor replaces one
image placeholder by a run of tokens; layers are called as in Llama, CLIP or SigLIP.
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from workers.families import unsupported
from workers.families.base import IMAGE_TOKENS, Base, Encoded
from workers.families.chat import ChatFamily
from workers.families.prompts import Prompt
from workers.families.traits import UNTRIED

if TYPE_CHECKING:
    import torch
    from PIL import Image

_EYES = r"(vision|visual|image_encoder|image_tower|connector|projector|qformer|resampler)"
_TEXT_ALL = rf"(?!.*{_EYES}).*\.(q|k|v|o|qkv|gate|up|down|gate_up)_proj"
_VISION = (
    r".*(vision|visual|image_encoder|image_tower).*\.(q_proj|k_proj|v_proj|o_proj|out_proj|qkv"
    r"|gate_proj|up_proj|down_proj|fc1|fc2)"
)
_TEXT_KEYS = {"input_ids", "attention_mask", "mm_token_type_ids"}
_PROBE = Prompt(system=None, text="?")


class GenericFamily(ChatFamily):
    """Architectures without a family of their own."""

    TARGETS: Mapping[str, str] = {
        "text": rf"(?!.*{_EYES}).*\.(q|v|qkv)_proj",
        "text_all": _TEXT_ALL,
        "vision": _VISION,
        "all": f"{_TEXT_ALL}|{_VISION}",
    }

    traits = UNTRIED

    def check(self, base: Base) -> None:
        """Warn of what is assumed; refuse a processor without chat template or image token."""
        kind = base.model.config.model_type
        if not getattr(base.processor, "chat_template", None):
            raise unsupported(kind, "its processor has no chat template")
        if base.encoder_decoder:
            raise unsupported(kind, "it has an encoder and a decoder")
        if self.image_token(base) is None:
            raise unsupported(kind, "neither its config nor its processor names an image token")
        warnings.warn(
            f"model.base is of type {kind!r}, which has no family of its own: its chat template "
            "makes the prompts, the answer alone is learned, and target sets go by usual layer "
            "names. Look at the example prompt and at the number of trained weights before a long "
            "run",
            stacklevel=2,
        )

    def image_token(self, base: Base) -> int | None:
        """Return the image token of the config, or else of the processor."""
        config, processor = base.model.config, base.processor
        found = [getattr(config, name, None) for name in ("image_token_id", "image_token_index")]
        tokens = (*found, getattr(processor, "image_token_id", None))
        return next((token for token in tokens if isinstance(token, int)), None)

    def encode(self, base: Base, image: "Image.Image") -> Encoded:
        """Return all tensors that the processor makes of the image, and the tokens it stands for.

        Raises ValueError for a processor that changes more of a prompt than the placeholder.
        """
        import torch

        text = self.rendered(base, _PROBE)
        encoded = base.processor(images=[image], text=[text], return_tensors="pt")
        if "token_type_ids" in encoded:
            raise unsupported(base.model.config.model_type, "it wants token_type_ids of its own")
        whole, (before, after) = encoded["input_ids"][0].tolist(), self._around_image(base, text)
        end = len(whole) - len(after)
        if whole[: len(before)] != before or whole[end:] != after:
            raise ValueError(
                "model.base: its processor must replace the image placeholder and leave the rest "
                "of the prompt as it is; this one changes other tokens"
            )
        tensors = {key: value for key, value in encoded.items() if key not in _TEXT_KEYS}
        return {**tensors, IMAGE_TOKENS: torch.tensor(whole[len(before) : end])}

    def prompt_tokens(self, base: Base, image: Encoded, prompt: Prompt) -> list[int]:
        """Return the rendered conversation with the image's tokens in place of the placeholder."""
        before, after = self._around_image(base, self.rendered(base, prompt))
        return [*before, *image[IMAGE_TOKENS].tolist(), *after]

    def token_types(
        self, base: Base, ids: "torch.Tensor", predicted: "torch.Tensor"
    ) -> "dict[str, torch.Tensor]":
        """Return mm_token_type_ids where the processor makes them: 1 on image tokens."""
        if not getattr(base.processor, "return_mm_token_type_ids", False):
            return {}
        return {"mm_token_type_ids": ids.eq(self._placeholder(base)).long()}

    def _placeholder(self, base: Base) -> int:
        token = self.image_token(base)
        if token is None:  # `check` has refused such a base
            raise ValueError("model.base: no image token is known")
        return token

    def _around_image(self, base: Base, text: str) -> tuple[list[int], list[int]]:
        """Return the tokens before and after the image placeholder."""
        tokens: list[int] = base.processor.tokenizer(text)["input_ids"]
        place = tokens.index(self._placeholder(base))
        return tokens[:place], tokens[place + 1 :]


FAMILY = GenericFamily()
