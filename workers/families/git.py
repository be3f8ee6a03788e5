"""GIT (Wang et al. 2022): a decoder that reads image tokens and caption in one sequence.

Training sequence: ``[CLS] prompt caption [SEP]``. The model itself puts the image in front; its
loss skips the image tokens and shifts the labels.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from workers.families.base import Base, Encoded, Family
from workers.families.prompts import Prompt

if TYPE_CHECKING:  # kept out at run time: target sets are read where torch is not loaded
    import torch

# Full paths: bare names such as `q_proj` or `dense` would also catch the vision tower.
_TEXT = r"git\.encoder\.layer\.\d+\."
_TEXT_ALL = _TEXT + r".*(query|key|value|dense)"
_VISION = r"git\.image_encoder\..*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"


class GitFamily(Family):
    """GIT; the image has no tokens in the text."""

    TARGETS: Mapping[str, str] = {
        "text": _TEXT + r".*(query|value)",
        "text_all": _TEXT_ALL,
        # The head by its top-level name: `modules_to_save=["output"]` would catch every block.
        "text_all_head": f"{_TEXT_ALL}|output",
        "vision": _VISION,
        "all": rf"{_TEXT_ALL}|{_VISION}|git\.visual_projection\.visual_projection\.0",
    }
    PROMPTS: Mapping[str, str] = {"captioning": "", "vqa": "{question}"}
    VISION_CHAIN: Mapping[str, str] = {
        "git.image_encoder": "last_hidden_state",
        "git.visual_projection": "",
    }

    def check(self, base: Base) -> None:
        """Have generated tokens at the positions that they had in training.

        Before 5.18, transformers adds the length of the cache, image included, to positions that
        count all tokens already. The sweeps need 5.18; workers alone may run with an older one.
        """
        import transformers

        if Version(transformers.__version__) < Version("5.18"):
            base.model.git.register_forward_pre_hook(_undo_shift, with_kwargs=True)

    def image_features(self, base: Base, images: Encoded) -> "Sequence[torch.Tensor]":
        """Return the patches of each image, (1, patches, width)."""
        git = base.model.git
        seen = git.image_encoder(images["pixel_values"]).last_hidden_state
        return [patches.unsqueeze(0) for patches in git.visual_projection(seen)]

    def prompt_tokens(self, base: Base, image: Encoded, prompt: Prompt) -> list[int]:
        """Return ``[CLS] prompt``."""
        return [base.processor.tokenizer.cls_token_id, *base.tokens(prompt.text)]

    def target_tokens(self, base: Base, prompt: Prompt, target: str) -> list[int]:
        """Return ``caption [SEP]``."""
        return [*base.tokens(target), base.processor.tokenizer.sep_token_id]


def _undo_shift(git: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Subtract from the positions of a generated token what `git` will add to them."""
    cache, ids = kwargs.get("past_key_values"), args[0] if args else kwargs["input_ids"]
    if kwargs.get("pixel_values") is None and cache is not None and ids.shape[1] == 1:
        kwargs["position_ids"] = kwargs["position_ids"] - cache.get_seq_length()
    return args, kwargs


FAMILY = GitFamily()
"""It makes no token types: `forward` takes token_type_ids, but `generate` refuses them."""
