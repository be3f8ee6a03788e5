"""Kernels of the attention: which of them a base and a machine have, before the base is loaded."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from workers.files import own_code
from workers.models.checkpoint_files import local_folder
from workers.recipe import Model

_GPU_ONLY: Mapping[str, str | None] = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flex_attention": None,
}
"""Kernel that is trained through on a GPU only -> the package that has it, None for torch."""
_SUPPORTS: Mapping[str, str] = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flash_attention_3": "_supports_flash_attn",
    "flex_attention": "_supports_flex_attn",
}
"""Kernel -> attribute of transformers' models that have it; all have eager."""


def check_device(implementation: str | None, *, gpu: bool) -> None:
    """Raise ValueError, naming ``model.attn_implementation``, for a kernel that wants a GPU."""
    if implementation is not None and implementation in _GPU_ONLY and not gpu:
        raise _refused(implementation, "it needs a GPU, and there is none; set null or sdpa")


def check_installed(implementation: str | None) -> None:
    """Raise ValueError, naming ``model.attn_implementation``, for a kernel that is not here.

    transformers would fetch one from the hub and run it: code that nobody has looked at.
    """
    package = _GPU_ONLY.get(implementation or "")
    if implementation and package and find_spec(package) is None:
        reason = f"the package {package} is not installed; install it, or set null"
        raise _refused(implementation, reason)


def check_architecture(implementation: str | None, config: Any) -> None:
    """Raise ValueError, naming ``model.attn_implementation``, for one that the architecture lacks.

    `config` is that of transformers. Takes a second or two: the model is made without its weights.
    """
    if implementation is None or implementation not in _SUPPORTS:
        return
    from accelerate import init_empty_weights
    from transformers import AutoModelForImageTextToText, PreTrainedModel

    with init_empty_weights():
        model = AutoModelForImageTextToText.from_config(
            config, attn_implementation="eager", trust_remote_code=False
        )
    parts = [type(part) for part in model.modules() if isinstance(part, PreTrainedModel)]
    lacking = [kind for kind in parts if not getattr(kind, _SUPPORTS[implementation])]
    if lacking:
        flags = _SUPPORTS.items()
        common = [name for name, flag in flags if all(getattr(kind, flag) for kind in parts)]
        reason = (
            f"{lacking[0].__name__} of transformers does not have it; "
            f"set one of {', '.join(['null', 'eager', *common])}"
        )
        raise _refused(implementation, reason)


def check_base(model: Model) -> None:
    """Do `check_architecture` for a base whose config is on this machine; else nothing."""
    folder = local_folder(model.base, model.revision) if model.attn_implementation else None
    if folder is None:
        return
    from transformers import AutoConfig

    with own_code.refused(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    check_architecture(model.attn_implementation, config)


def of_any_machine(model: Model) -> Model:
    """Return a model that writes the same captions, up to rounding, on any machine."""
    return model.model_copy(update={"attn_implementation": None})


def _refused(implementation: str, reason: str) -> ValueError:
    return ValueError(f"model.attn_implementation {implementation!r}: {reason}")
