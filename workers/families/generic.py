"""Any architecture that transformers loads and whose processor has a chat template.

Prompt and answer are turns of a conversation that the template renders. The processor puts text of
its own in place of the image: one token for each feature, and whatever it writes around them or
between rows and tiles. What the model reads is that text as the processor's tokenizer has it, so a
prompt has the very tokens that the model's own processor makes.
"""

import copy
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workers.families import unsupported
from workers.families.base import IMAGE_TEXT, Base, Batch, Encoded, Family
from workers.families.prompts import Prompt
from workers.families.traits import UNTRIED, Traits

if TYPE_CHECKING:
    import torch
    from PIL import Image

# Parts of paths. A tower sees, a bridge leads from it to the language model.
_TOWER = r"(vision|visual|image_encoder|image_tower)"
_BRIDGE = r"(connector|projector|projection|qformer|resampler|merger|aligner|embed_vision)"
_TEXT = rf"(?!.*({_TOWER}|{_BRIDGE}|\.experts\.|lm_head)).*"
_TEXT_ALL = rf"{_TEXT}\.((q|k|v|o|out|qkv|gate|up|down|gate_up)_proj|in_proj_\w+|fc1|fc2)"
_VISION = (
    rf"(?!.*{_BRIDGE}\w*\.).*{_TOWER}.*\.((q|k|v|o|out|gate|up|down)_proj|qkv|attn\.proj|"
    r"projection_layer|(linear_)?fc[12]|lin[12])"
)
_ACROSS = (
    rf".*{_BRIDGE}\w*\.(.*\.)?(\w*proj|embedding_projection|query|key|value|"
    r"((?!spatial_|temporal_)\w+_)?linear\w*|dense|merging_layer|fc[12])|.*visual\.merger\.mlp\.[02]"
)
_CLIPPED = rf".*{_TOWER}.*\.(q|k|v|o|gate|up|down)_proj\.linear"
_THINKS = "enable_thinking"
"""What templates call the choice whether to think before the answer."""
_PROBE = Prompt(system=None, text="?")
TRIED = (
    *("aya_vision", "cohere2_vision", "deepseek_vl", "deepseek_vl_hybrid", "ernie4_5_vl_moe"),
    *("gemma3", "gemma4", "glm46v", "glm4v"),
    *("glm4v_moe", "granite4_vision", "idefics2", "idefics3", "internvl", "lighton_ocr", "llava"),
    *("llava_next", "llava_onevision", "minicpmv4_6", "mistral3", "mllama", "ovis2", "qwen2_5_vl"),
    *("qwen2_vl", "qwen3_5", "qwen3_5_moe", "qwen3_vl", "qwen3_vl_moe", "smolvlm", "t5gemma2"),
    "video_llama_3",
)
"""Values of `model_type` for which the contract tests run, so that there is nothing to warn of."""


class GenericFamily(Family):
    """Architectures whose prompts come from their chat template."""

    TARGETS: Mapping[str, str] = {
        "text": rf"{_TEXT}\.((q|v|qkv)_proj|in_proj_qkv)",
        "text_all": _TEXT_ALL,
        "vision": _VISION,
        "all": f"{_TEXT_ALL}|{_VISION}|{_ACROSS}",
    }
    PROMPTS: Mapping[str, str] = {"captioning": "Describe this image.", "vqa": "{question}"}
    SYSTEM_PROMPT: bool = True
    traits: Traits | None = UNTRIED
    IMAGES_IN_ROWS: bool = False
    GRID = "image_grid_thw"

    def check(self, base: Base) -> None:
        """Refuse a processor without chat template or image token; warn of what is assumed."""
        kind = base.model.config.model_type
        if not getattr(base.processor, "chat_template", None):
            raise unsupported(kind, "its processor has no chat template")
        if self.image_token(base) is None:
            raise unsupported(kind, "neither its config nor its processor names an image token")
        if kind not in TRIED:
            warnings.warn(
                f"model.base is of type {kind!r}, which was never tried: its chat template makes "
                "the prompts, the answer alone is learned, and target sets go by usual layer "
                "names. See what `sweeps check --model` says of it before a long run",
                stacklevel=2,
            )

    def image_token(self, base: Base) -> int | None:
        """Return the image token of the config, or else of the processor."""
        config, processor = base.model.config, base.processor
        found = [getattr(config, name, None) for name in ("image_token_id", "image_token_index")]
        tokens = (*found, getattr(processor, "image_token_id", None))
        return next((token for token in tokens if isinstance(token, int)), None)

    def image_tokens(self, base: Base) -> frozenset[int]:
        """Return it, the placeholder in rendered conversations, and tokens of an image's type."""
        tokenizer, placeholder = base.processor.tokenizer, self._placeholder(base)
        number = tokenizer.convert_tokens_to_ids(placeholder)
        known = number is not None and tokenizer.convert_ids_to_tokens(number) == placeholder
        others = [{number}] if known else []  # a text of several tokens is found as a text
        return super().image_tokens(base).union(*others, *base.marked_tokens.values())

    def encode(self, base: Base, image: "Image.Image") -> Encoded:
        """Return all tensors that the processor makes of the image, and the text it stands for.

        Raises ValueError for a processor that changes more of a prompt than the placeholder.
        """
        import torch

        made, text = self._processed(base, image)
        tokens = made["input_ids"].shape
        tensors = {
            key: own.float() if own.is_floating_point() else own  # Llama 4 makes bfloat16 ones
            for key, own in made.items()
            if key != "cross_attention_mask" and getattr(own, "shape", None) != tokens
        }
        tensors[IMAGE_TEXT] = torch.tensor(list(text.encode()), dtype=torch.uint8)
        return tensors

    def marked_tokens(self, base: Base) -> Mapping[str, frozenset[int]]:
        """Return what the processor makes for each token and the model reads: the tokens with a 1.

        Seen on a grey image. Raises ValueError where that is not decided by the token alone.
        """
        from PIL import Image

        made, _ = self._processed(base, Image.new("RGB", (64, 64), "grey"))
        ids, found = made["input_ids"][0].tolist(), {}
        for key in base.arguments & made.keys() - {"input_ids", "attention_mask"}:
            if made[key].shape == made["input_ids"].shape:
                types = made[key][0].tolist()
                found[key] = frozenset(t for t, own in zip(ids, types, strict=True) if own == 1)
                if types != [int(token in found[key]) for token in ids]:
                    kind = base.model.config.model_type
                    raise unsupported(kind, f"how its processor makes {key} is not known")
        return found

    def image_text(self, base: Base, image: Encoded) -> str:
        """Return what stands in a prompt for the image."""
        return bytes(image[IMAGE_TEXT].tolist()).decode()

    def image_places(self, base: Base, image: Encoded) -> int:
        """Return how often the image's text has the image token."""
        token = base.processor.tokenizer.convert_ids_to_tokens(self.image_token(base))
        return self.image_text(base, image).count(token)

    def prompt_tokens(self, base: Base, image: Encoded, prompt: Prompt) -> list[int]:
        """Return the rendered conversation with the image's text in place of the placeholder."""
        before, after = self._around_image(base, prompt)
        return _tokens_of(base, f"{before}{self.image_text(base, image)}{after}")

    def target_tokens(self, base: Base, prompt: Prompt, target: str) -> list[int]:
        """Return the answer and the token that ends the turn.

        Raises ValueError, naming ``model.base``, where the conversation with the answer does not
        begin with the one without: what is learned would not be what is asked.
        """
        before, whole = self.rendered(base, prompt), self.rendered(base, prompt, target)
        if not whole.startswith(before):
            raise ValueError(
                "model.base: the chat template must render a conversation with its answer as the "
                f"prompt and then the answer; the prompt is {before!r}, the whole {whole!r}"
            )
        # Behind the prompt, where a tokenizer may spell it otherwise than at the start of a text.
        asked, together = _tokens_of(base, before), _tokens_of(base, whole)
        follows = together[: len(asked)] == asked
        tokens = together[len(asked) :] if follows else base.tokens(whole[len(before) :])
        configured = base.model.generation_config.eos_token_id
        own = base.processor.tokenizer.eos_token_id
        ends = {own, *(configured if isinstance(configured, list) else [configured])}
        for index, token in enumerate(tokens):
            if token in ends:
                return tokens[: index + 1]
        return [*tokens, own]

    def token_types(
        self, base: Base, ids: "torch.Tensor", predicted: "torch.Tensor", images: Encoded
    ) -> "dict[str, torch.Tensor]":
        """Return what the model reads of this: types of tokens, and who sees which tile.

        Without its types Qwen's positions are wrong and Gemma's images see only backwards.
        """
        import torch

        types = {
            name: torch.isin(ids, torch.tensor(sorted(tokens))).long()
            for name, tokens in base.marked_tokens.items()
        }
        if "cross_attention_mask" in base.arguments and "aspect_ratio_mask" in images:
            # (batch, tokens, 1, tiles): Llama's text from the image on sees its tiles.
            image = torch.tensor(self.image_token(base))
            behind = ids.eq(image).cumsum(dim=1).clamp(max=1)
            types["cross_attention_mask"] = (
                behind[:, :, None, None] * images["aspect_ratio_mask"][:, None]
            )
        return types

    def training_inputs(self, base: Base, batch: Batch) -> Batch:
        """Return them with the tokens' positions where the model finds them by the images' sizes.

        Qwen's are (3, batch, tokens). Then without the mask: each token sees those before it alone,
        and padding is behind.
        """
        inputs = super().training_inputs(base, batch)
        if self.traits and self.traits.unmasked:  # of a mask transformers asks what is masked
            del inputs["attention_mask"]
        find = getattr(base.model.base_model, "get_rope_index", None)
        if find is None or self.GRID not in batch:
            return inputs
        types = inputs.pop("mm_token_type_ids", None)
        read = {
            **inputs,
            "mm_token_type_ids": types,
            "image_grid_thw": batch[self.GRID],
        }
        wanted = inspect.signature(find).parameters
        inputs["position_ids"], _ = find(**{key: own for key, own in read.items() if key in wanted})
        inputs.pop("attention_mask", None)
        return inputs

    def rendered(self, base: Base, prompt: Prompt, answer: str | None = None) -> str:
        """Return the conversation with one image placeholder: up to where the answer begins.

        With an `answer` the conversation has that turn as well. A template that can do without
        thinking before the answer does.
        """
        from jinja2 import TemplateError

        text = [{"type": "text", "text": prompt.text}] if prompt.text else []
        turns: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image"}, *text]}]
        if prompt.system is not None:
            system = [{"type": "text", "text": prompt.system}]
            turns.insert(0, {"role": "system", "content": system})
        if answer is not None:
            content = [{"type": "text", "text": answer}]
            turns.append({"role": "assistant", "content": content})
        thinks = _THINKS in str(base.processor.chat_template)
        try:
            whole: str = base.processor.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=answer is None,
                **({_THINKS: False} if thinks else {}),
            )
        except TemplateError as error:
            field = "model.base" if prompt.system is None else "prompt.system"
            raise ValueError(f"{field}: the base's chat template refuses it: {error}") from error
        if prompt.system and prompt.system.strip() not in whole:
            raise ValueError(
                "prompt.system must be null: the base's chat template has no place for it, and "
                f"renders {whole!r}"
            )
        return whole

    def _processed(self, base: Base, image: "Image.Image") -> tuple[Mapping[str, Any], str]:
        """Return what the processor makes of the image in a prompt, and its text for the image."""
        before, after = self._around_image(base, _PROBE)
        processor = copy.copy(base.processor)
        processor.tokenizer = reader = _Reader(base.processor.tokenizer)
        text = f"{before}{self._placeholder(base)}{after}"
        made = processor(images=[image], text=[text], return_tensors="pt")
        whole = reader.text
        written = whole[len(before) : len(whole) - len(after)]
        if whole != f"{before}{written}{after}":
            raise ValueError(
                "model.base: its processor must replace the image placeholder and leave the rest "
                f"of the prompt as it is; this one makes {whole!r} of {text!r}"
            )
        return made, written

    def _around_image(self, base: Base, prompt: Prompt) -> tuple[str, str]:
        """Return what the rendered conversation has before and after the image placeholder."""
        text, placeholder = self.rendered(base, prompt), self._placeholder(base)
        parts = text.split(placeholder)
        if len(parts) != 2:
            raise ValueError(
                f"prompt.text: the rendered conversation must have the image token {placeholder!r} "
                f"once, for its image, got {text!r}"
            )
        return parts[0], parts[1]

    def _placeholder(self, base: Base) -> str:
        """Return what stands for an image in a rendered conversation."""
        own = getattr(base.processor, "image_token", None)
        if own is None:
            own = base.processor.tokenizer.convert_ids_to_tokens(self.image_token(base))
        return str(own)


def _tokens_of(base: Base, text: str) -> list[int]:
    """Return the tokens of a rendered conversation, as `apply_chat_template` has them.

    Some templates write down how a text begins; otherwise the tokenizer does.
    """
    tokenizer = base.processor.tokenizer
    begun = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    tokens: list[int] = tokenizer(text, add_special_tokens=not begun)["input_ids"]
    return tokens


class _Reader:
    """A tokenizer that remembers the text it was given last."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.text = ""

    def __call__(self, text: Any, *others: Any, **named: Any) -> Any:
        self.text = text if isinstance(text, str) else text[0]
        return self._tokenizer(text, *others, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


class Gemma4Family(GenericFamily):
    """Gemma 4, whose image encoder has each linear layer in a module that clips what it reads."""

    TARGETS: Mapping[str, str] = {
        **GenericFamily.TARGETS,
        "vision": _CLIPPED,
        "all": f"{_TEXT_ALL}|{_CLIPPED}|{_ACROSS}",
    }


class QwenFamily(GenericFamily):
    """Qwen2.5-VL, of which it is known which module makes the features of an image.

    An encoded image is what its image processor makes, as kept features of it have always been.
    """

    traits = None
    VISION_CHAIN: Mapping[str, str] = {"model.visual": "pooler_output"}
    SAVED_NAMES: Mapping[str, str] = {
        r"^model\.(embed_tokens|layers|norm)\.": r"model.language_model.\1.",
        r"^visual\.": "model.visual.",
    }
    encode = Family.encode

    def image_features(self, base: Base, images: Encoded) -> "Sequence[torch.Tensor]":
        """Return the merged patches of each image, (patches, 1, width)."""
        merged = base.model.get_image_features(**images).pooler_output
        return [patches.unsqueeze(1) for patches in merged]

    def image_text(self, base: Base, image: Encoded) -> str:
        """Return one image token for each merged patch."""
        merged = int(image["image_grid_thw"].prod()) // base.processor.image_processor.merge_size**2
        return "".join([self._placeholder(base)] * merged)


class MllamaFamily(GenericFamily):
    """Llama 3.2 Vision, whose language model reads the patches of all tiles by cross-attention."""

    VISION_CHAIN: Mapping[str, str] = {
        "model.vision_model": "last_hidden_state",
        "model.multi_modal_projector": "",
    }

    def image_features(self, base: Base, images: Encoded) -> "Sequence[torch.Tensor]":
        """Return the patches of all tiles of each image, (1, patches, width)."""
        inner = base.model.model
        made = inner.multi_modal_projector(inner.vision_model(**images).last_hidden_state)
        return list(made.flatten(1, -2).split(1))


_ATTENTION = rf"{_TEXT}\.(q|k|v|o)_proj"
_SEES = r".*visual.*\.attn\.(qkv|proj)"


class GlmMoeFamily(GenericFamily):
    """GLM-4.5V: for gate, up and down, wherever they are, peft would adapt the experts."""

    TARGETS: Mapping[str, str] = {
        **GenericFamily.TARGETS,
        "text_all": _ATTENTION,
        "vision": _SEES,
        "all": rf"{_ATTENTION}|{_SEES}|.*visual\.merger\.proj",
    }


FAMILY = GenericFamily()
KNOWN: Mapping[str, Family] = {
    "qwen2_5_vl": QwenFamily(),
    "mllama": MllamaFamily(),
    "glm4v_moe": GlmMoeFamily(),
    **dict.fromkeys(("gemma4", "gemma4_unified"), Gemma4Family()),
}
"""Value of `model_type` -> its family, where something is known of it that is not seen."""
