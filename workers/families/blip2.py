"""BLIP-2 (Li et al. 2023): a frozen image encoder, a Q-Former, and OPT or T5 as language model.

With OPT one sequence: image tokens, ``</s>``, prompt, caption, end of text. With T5 the encoder
reads image tokens, prompt and ``</s>``, the decoder learns caption and ``</s>``.
"""

from collections.abc import Mapping

from workers.families.base import Base, Batch, Encoded, Family
from workers.families.prompts import Prompt

# OPT and T5 name their layers differently; each pattern finds only its own.
_OPT = r"language_model\.model\.decoder\.layers\.\d+\."
_T5 = r"language_model\.(encoder|decoder)\.block\.\d+\.layer\.\d+\."
_TEXT_ALL = (
    rf"{_OPT}(self_attn\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2)"
    rf"|{_T5}(SelfAttention|EncDecAttention)\.(q|k|v|o)|{_T5}DenseReluDense\.(wi|wi_0|wi_1|wo)"
)
_VISION = r"vision_model\.encoder\.layers\.\d+\.(self_attn\.(qkv|projection)|mlp\.(fc1|fc2))"
_QFORMER = r"qformer\.encoder\.layer\.\d+\..*\.(query|key|value|dense)"


class Blip2Family(Family):
    """BLIP-2 with OPT or T5."""

    TARGETS: Mapping[str, str] = {
        "text": rf"{_OPT}self_attn\.(q_proj|v_proj)|{_T5}(SelfAttention|EncDecAttention)\.(q|v)",
        "text_all": _TEXT_ALL,
        "vision": _VISION,
        "all": rf"{_TEXT_ALL}|{_VISION}|{_QFORMER}|language_projection",
    }
    # The wording that the published checkpoints were trained and evaluated with.
    PROMPTS: Mapping[str, str] = {
        "captioning": "a photo of",
        "vqa": "Question: {question} Short answer:",
    }
    VISION_CHAIN: Mapping[str, str] = {
        "vision_model": "last_hidden_state",
        "qformer": "last_hidden_state",
        "language_projection": "",
    }

    def check(self, base: Base) -> None:
        """Refuse checkpoints without image tokens: they would ignore the image without an error.

        The number of image tokens is the config's; the processor's own number, which old
        checkpoints lack, is not used.
        """
        rows = base.model.get_input_embeddings().num_embeddings
        token = base.model.config.image_token_id
        if token is None or token >= rows:
            raise ValueError(
                f"model.base: the config's image_token_index must be a token below {rows}, the "
                f"rows of the embedding, got {token}; without image tokens the image is not seen. "
                "Take a newer revision of the checkpoint"
            )

    def image_token(self, base: Base) -> int | None:
        """Return the number of ``<image>``."""
        return int(base.model.config.image_token_id)

    def prompt_tokens(self, base: Base, image: Encoded, prompt: Prompt) -> list[int]:
        """Return image tokens and prompt, with ``</s>`` between them (OPT) or at the end (T5)."""
        tokenizer, config = base.processor.tokenizer, base.model.config
        image_tokens = [config.image_token_id] * config.num_query_tokens
        text = base.tokens(prompt.text)
        if base.encoder_decoder:
            return [*image_tokens, *text, tokenizer.eos_token_id]
        return [*image_tokens, tokenizer.bos_token_id, *text]

    def target_tokens(self, base: Base, prompt: Prompt, target: str) -> list[int]:
        """Return the caption and the end of text that the language model generates.

        For OPT that is not the tokenizer's ``</s>``: the published checkpoints end with a newline.
        """
        if base.encoder_decoder:
            return [*base.tokens(target), base.processor.tokenizer.eos_token_id]
        separator = " " if prompt.text else ""
        end = base.model.generation_config.eos_token_id  # where `generate` stops
        return [*base.tokens(separator + target), int(end[0] if isinstance(end, list) else end)]

    def training_inputs(self, base: Base, batch: Batch) -> Batch:
        """Return them with a mask of four axes, in numbers that are added to the attention.

        Such a mask is taken as it is; of one with two axes transformers asks whether any is 0. With
        OPT each token sees those before it alone, and padding is behind: one mask for all rows.
        """
        import torch

        inputs = super().training_inputs(base, batch)
        hidden = inputs["attention_mask"][:, None, None] == 0
        if not base.encoder_decoder:
            tokens = hidden.shape[-1]
            hidden = torch.ones(1, 1, tokens, tokens, dtype=torch.bool).triu(1)
            inputs["position_ids"] = torch.arange(tokens)[None]
        least = torch.finfo(base.model.dtype).min
        inputs["attention_mask"] = hidden.to(base.model.dtype) * least
        return inputs


FAMILY = Blip2Family()
