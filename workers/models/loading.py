"""Base models, loaded from a folder, the model hub, or as built-in ones, and their identity."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from workers import families, quantizations
from workers.families.base import Base
from workers.files import fetched, own_code
from workers.models import attention, builtin, processors, resolution
from workers.quantizations.unquantized import check_names, unquantized_modules
from workers.recipe import Model


def resolve(base: str) -> str:
    """Return what `from_pretrained` takes for ``model.base``.

    A built-in base is built on first use (about half a minute) and cached as a folder; one in an
    object store is fetched. Raises ValueError for one that cannot be.
    """
    if base in builtin.BASES:
        return str(builtin.base_folder(base))
    path = Path(fetched.local(base, "model.base")).expanduser()
    return str(path) if path.is_dir() else base


def identity(model: Model) -> str:
    """Return ``name@commit`` for a model of the hub, and the SHA-256 of its files for a folder.

    A folder has the same identity on every machine. Its weights are read once, about a second
    per GB. Raises OSError when the hub's model is neither reachable nor downloaded.
    """
    source = resolve(model.base)
    if not Path(source).is_dir():
        commit = getattr(_saved_config(model, source), "_commit_hash", None)
        return f"{model.base}@{commit or model.revision}"
    digest = hashlib.sha256()
    # What of a saved checkpoint decides what it computes.
    patterns = ("config.json", "*.safetensors", "*.bin")
    for file in sorted({file for pattern in patterns for file in Path(source).glob(pattern)}):
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{file.name} {found}\n".encode())
    return digest.hexdigest()


def load_base(model: Model, quantization: str, device: torch.device) -> Base:
    """Load, quantize and freeze a base model.

    Raises ValueError, naming ``model.base`` or ``model.revision``, when there is no such
    checkpoint, when it lacks a processor, or when no family fits it; naming
    ``model.attn_implementation`` or ``model.unquantized_modules`` for what it does not have.
    """
    from transformers import AutoModelForImageTextToText

    source = resolve(model.base)
    if model.revision is not None and Path(source).is_dir():
        raise ValueError(
            f"model.revision must be null where model.base is a folder, got {model.revision!r}"
        )
    config = without_dropout(supported_config(model, source))
    family = families.get(config.model_type)
    processor = load_processor(model, source)
    resolution.set_limits(processor, model, config)
    tokens, known = len(processor.tokenizer), config.get_text_config().vocab_size
    if tokens < known / 2:  # nearly empty: transformers makes one where the files are missing
        raise ValueError(
            f"model.base: the tokenizer of {model.base!r} knows {tokens} tokens, the model "
            f"{known}; the tokenizer's files (tokenizer.json, or its vocabulary) are missing"
        )
    attention.check_device(model.attn_implementation, gpu=device.type == "cuda")
    attention.check_installed(model.attn_implementation)
    attention.check_architecture(model.attn_implementation, config)
    # None would also undo what a checkpoint's config says of its parts.
    kernel = {"attn_implementation": own} if (own := model.attn_implementation) else {}
    dtype = precision_on(device, model.dtype)
    storage, kept = quantizations.get(quantization), _unquantized(model, quantization, config)
    # Else transformers has a service convert a base of the hub that has no safetensors.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "true")
    try:
        loaded = AutoModelForImageTextToText.from_pretrained(
            source,
            config=config,
            revision=model.revision,
            dtype=dtype,
            quantization_config=storage.config(dtype, kept),
            **kernel,
            device_map={"": str(device)},
            trust_remote_code=False,
            use_safetensors=True,
        )
    except OSError as error:
        if "safetensors" not in str(error):  # another reason
            raise
        raise ValueError(f"{own_code.pickled(model.base)}: {error}") from error
    storage.prepare(loaded)
    loaded.requires_grad_(False)
    base = Base(
        model=loaded.eval(),
        processor=processor,
        family=family,
        device=device,
        quantization=quantization,
    )
    family.check(base)
    return base


def without_weights(folder: Path) -> Base:
    """Return the base in `folder` with its processor and without weights, see `empty_base`.

    Raises ValueError as `load_processor` and `empty_base` do.
    """
    from workers.models.checkpoint_files import empty_base  # which imports this module, too

    processor = load_processor(Model(base=str(folder)), str(folder))
    return replace(empty_base(folder), processor=processor)


def at_resolution(base: Base, model: Model, loaded: Model) -> Base:
    """Return a base that was loaded for another model, with the processor of this resolution.

    Raises ValueError, naming the field, for limits that the processor does not have, or that cannot
    share a base with the other's.
    """
    resolution.check_shared(base.model.config.to_dict(), [model, loaded])
    processor = load_processor(model, resolve(model.base))
    resolution.set_limits(processor, model)
    return replace(base, processor=processor)


def precision_on(device: torch.device, dtype: str) -> torch.dtype:
    """Return the type that ``model.dtype`` is on a device."""
    if dtype != "auto":
        return cast(torch.dtype, getattr(torch, dtype))
    if device.type != "cuda":
        return torch.float32
    with torch.cuda.device(device):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16


def _unquantized(model: Model, quantization: str, config: Any) -> list[str] | None:
    """Return the names of all modules to leave alone; None for those that transformers chooses.

    transformers chooses none where any are named, so what it would choose (the head, what is tied
    to it) is found with a model without its weights. Raises ValueError, naming
    ``model.unquantized_modules``, for a name that the base does not have.
    """
    named = unquantized_modules(model.unquantized_modules, config.to_dict())
    if not named or quantization == "none":
        return None
    from accelerate import init_empty_weights
    from transformers import AutoModelForImageTextToText
    from transformers.quantizers.base import get_keys_to_not_convert

    with init_empty_weights():
        empty = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    check_names(model.unquantized_modules, [path for path, _ in empty.named_modules() if path])
    return [*get_keys_to_not_convert(empty), *named]


def without_dropout(config: Any) -> Any:
    """Set all dropout of a base's config, and of its parts, to 0, and return it.

    A frozen base is the same in training as in use; what regularises is `Adapter.dropout`, which
    each trial has for itself. The base's own would be drawn for all trials of a pack together.
    """
    for name, value in vars(config).items():
        if hasattr(value, "model_type"):
            without_dropout(value)
        elif isinstance(value, float) and ("dropout" in name or "layerdrop" in name):
            setattr(config, name, 0.0)
    return config


def _saved_config(model: Model, source: str) -> Any:
    from transformers import AutoConfig

    with own_code.refused(source):
        return AutoConfig.from_pretrained(source, revision=model.revision, trust_remote_code=False)


def supported_config(model: Model, source: str) -> Any:
    """Return the checkpoint's config, of an architecture that can be loaded.

    Raises ValueError, naming ``model.base`` or ``model.revision``, for any other.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    try:
        config = _saved_config(model, source)
    except own_code.OwnCodeError:
        raise
    except OSError as error:
        raise _missing(model, error) from error
    except ValueError as error:  # a model_type that transformers does not know, or none
        try:
            kind = str(json.loads((Path(source) / "config.json").read_text())["model_type"])
        except (OSError, ValueError, KeyError):
            kind = "unknown"
        reason = str(error).partition("\n")[0]  # behind it, how to update transformers
        raise families.unsupported(
            kind, f"transformers cannot read its config: {reason}"
        ) from error
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise families.unsupported(config.model_type, "transformers does not load it so")
    return config


def _missing(model: Model, error: OSError) -> ValueError:
    if model.revision is not None and "git identifier" in str(error):  # the hub's own words
        return ValueError(
            f"model.revision must be a commit, branch or tag of {model.base!r}, "
            f"got {model.revision!r}: {error}"
        )
    if "gated" in str(error):
        return ValueError(
            f"model.base: {model.base!r} is gated: accept its licence at "
            f"https://huggingface.co/{model.base}, and then log in (hf auth login), or set HF_TOKEN"
        )
    where = repr(model.base) if model.revision is None else f"{model.base!r} {model.revision!r}"
    return ValueError(
        f"model.base: no checkpoint at {where} (neither a folder with a config.json "
        f"nor a reachable hub model; offline, only what was downloaded before): {error}"
    )


def load_processor(model: Model, source: str) -> Any:
    """Return the checkpoint's processor, image processor and tokenizer in one.

    Raises ValueError, naming ``model.base``, where some of its files are missing, or where its
    class cannot be built here.
    """
    try:
        processor = processors.load(source, model.revision)
    except own_code.OwnCodeError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if missing := processors.missing_files(source, model.revision):
            raise ValueError(
                f"model.base: {model.base!r} has no processor that can be loaded; it needs the "
                f"files that the processor's save_pretrained writes, and {missing} is missing "
                f"({reason})"
            ) from error
        raise ValueError(
            f"model.base: the processor of {model.base!r} cannot be loaded here ({reason})"
        ) from error
    if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
        missing = processors.missing_files(source, model.revision) or "one for images"
        raise ValueError(
            f"model.base: {model.base!r} has no complete processor: found only "
            f"{type(processor).__name__}; {missing} is missing"
        )
    return processor
