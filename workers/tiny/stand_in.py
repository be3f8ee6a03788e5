"""Stand-ins: tiny models of a base's own structure, for rehearsals without its weights.

Where the base's config, tokenizer and processor are on this machine, the stand-in is that config
with small widths and one layer of each kind, and with the base's own tokenizer and processor: a
prompt has the very tokens that it has later. Otherwise it is the tiny checkpoint of the family
to which the config or the name belongs.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from workers.files import own_code
from workers.files.atomic import atomic_path
from workers.models import builtin, checkpoint_files, small_files
from workers.recipe import Model
from workers.tiny.shrunk import shrunk

LONG = 2048
"""Positions of a family's tiny checkpoint, whose few would cut prompts that the base can read."""
NOISE = 0.08
"""Standard deviation of what is added to weights that are all alike: the zeros of a new gate or
query would hide the image."""
LARGEST = 600_000_000
"""Most weights of a stand-in with the base's own widths."""

NAMED: Mapping[str, str] = {
    r"(^|[/_.-])git([/_.-]|$)": "git",
    r"blip-?2.*t5": "blip2-t5",
    r"blip-?2.*opt": "blip2-opt",
    r"qwen-?2[._-]?5.*vl": "qwen2_5_vl",
    r"paligemma": "paligemma",
}
"""Pattern in a base's name, in small letters -> variant of `workers.tiny.checkpoints`."""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A tiny model in place of a base."""

    base: str
    """What ``model.base`` is in the rehearsal: a folder, or a built-in base."""
    exact: bool
    """Whether tokenizer, processor and positions are those of the base itself."""
    origin: str
    """Its origin, as a phrase for the user."""


def make(base: str, revision: str | None, root: Path, *, deep: bool = False) -> StandIn:
    """Return the stand-in of ``model.base``, built below `root` unless it is there already.

    With `deep` it keeps the base's number of layers, for targets that name some of them.
    Raises ValueError, naming ``model.base``, when its family is unknown.
    """
    if base in builtin.BASES:
        return StandIn(base=base, exact=True, origin=f"{base} is tiny itself")
    source = checkpoint_files.local_folder(base, revision)
    if source is not None and _has_processor(source):
        return of_config(base, source, root, deep=deep)
    variant = variant_of(base, source)

    def build_tiny(place: Path) -> None:
        from workers.models.loading import supported_config
        from workers.tiny import checkpoints

        checkpoints.build(variant, place)
        config = supported_config(Model(base=str(place)), str(place))
        text = config.get_text_config()
        if getattr(text, "max_position_embeddings", None):
            text.max_position_embeddings = LONG
        _write(place, config, place)

    folder = _once(root / f"tiny-{variant}", build_tiny)
    missing = "config" if source is None else "tokenizer and processor"
    origin = (
        f"a tiny {variant} with a tokenizer of its own, for the {missing} of {base} is not on "
        f"this machine. Counts of tokens will differ; with the base's own: hf download {base} "
        '--include "*.json" "*.txt" "*.model"'
    )
    return StandIn(base=str(folder), exact=False, origin=origin)


def of_config(base: str, source: Path, root: Path, *, deep: bool = False) -> StandIn:
    """Return the stand-in of the config in `source`, built below `root` unless it is there already.

    Where a model of small widths cannot be built, or cannot read an image, its own widths stay.
    Raises ValueError, naming ``model.base``, where neither can be built, where files of the
    processor are missing, and for an architecture that is not supported.
    """
    from transformers import AutoConfig

    from workers.models.loading import load_processor, supported_config

    model = Model(base=str(source))
    whole = supported_config(model, model.base)
    load_processor(model, model.base)
    # Another config or tokenizer has another stand-in.
    key = sha256(f"{source.resolve()} {deep} {whole.to_json_string()}".encode()).hexdigest()[:8]
    name = f"{re.sub('[^A-Za-z0-9._-]+', '-', source.name)[:40]}-{key}"
    origin = f"{base}, its config shrunk, with its own tokenizer and processor"
    built, faults = [], []
    for widths, suffix, note in (
        (True, "", ""),
        (False, "-wide", "; its widths stay, for with {}"),
    ):

        def build(place: Path, widths: bool = widths) -> None:
            changed = shrunk(whole.to_dict(), widths=widths, layers=not deep)
            _write(source, AutoConfig.for_model(**changed), place)

        try:
            built.append(_once(root / f"{name}{suffix}", build))
            faults.append(_fault(built[-1]))
        except own_code.OwnCodeError:
            raise
        except Exception as error:  # whatever an unknown architecture raises
            faults.append(f"{type(error).__name__}: {error}")
        if faults[-1] is None:
            note = note.format(f"small ones {faults[0]}")
            return StandIn(base=str(built[-1]), exact=True, origin=origin + note)
    if not built:
        raise ValueError(
            f"model.base: no tiny model can be built of the config of {base!r}: {faults[0]}"
        )
    return StandIn(base=str(built[0]), exact=True, origin=f"{origin}; {faults[0]}")


def _fault(folder: Path) -> str | None:
    """Return why the model in `folder` cannot read an image, or None.

    One that is refused for what it is has no fault here: other widths would not help.
    """
    import torch
    from PIL import Image

    from workers.encoding.collation import on_device, training_batch
    from workers.families.prompts import PromptBuilder
    from workers.models.loading import load_base

    try:
        base = load_base(Model(base=str(folder)), "none", torch.device("cpu"))
    except ValueError:
        return None
    try:
        image = base.family.encode(base, Image.new("RGB", (64, 48), "red"))
        prompt = PromptBuilder().build(base.family, None, "image")
        batch = training_batch(base, [image], [prompt], ["a disc"])
        with torch.no_grad():
            base.model(**on_device(base, batch))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def variant_of(base: str, source: Path | None) -> str:
    """Return the variant of `workers.tiny.checkpoints` that is built like the base.

    `source` is the folder of its config, if there is one; else the name decides. Raises
    ValueError when neither does.
    """
    config = json.loads((source / "config.json").read_text()) if source else {}
    kind = str(config.get("model_type"))
    if kind == "blip-2":
        text = config.get("text_config", {}).get("model_type", "opt")
        return "blip2-t5" if "t5" in text else "blip2-opt"
    by_name = (variant for words, variant in NAMED.items() if re.search(words, base.lower()))
    variant = kind if kind in NAMED.values() else next(by_name, None)
    if variant is None:
        raise ValueError(
            f"model.base: the family of {base!r} is unknown, so it cannot be rehearsed: its "
            "config is not on this machine, and its name is none of "
            f"{', '.join(NAMED.values())}. Fetch its small files first (hf download {base} "
            '--include "*.json" "*.txt" "*.model"), or name its folder in model.base'
        )
    return variant


def _has_processor(source: Path) -> bool:
    """Whether a folder with a config has a tokenizer and a processor, too."""
    from workers.models.loading import load_processor, supported_config

    model = Model(base=str(source))
    try:
        supported_config(model, model.base)
        load_processor(model, model.base)
    except own_code.OwnCodeError:
        raise
    except ValueError:
        return False
    return True


def _once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, built beside it and moved into place if it is not there."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder) as partial:
        partial.mkdir()
        build(partial)
    return folder


def _write(source: Path, config: Any, folder: Path) -> None:
    """Write a model of `config` with random weights beside the base's own files from `source`.

    Those are the tokenizer's and the processor's, and one that knows the tokens that end a text.
    """
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoModelForImageTextToText, GenerationConfig

    with init_empty_weights():
        empty = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    weights = sum(weight.numel() for weight in empty.parameters())
    if weights > LARGEST:
        raise ValueError(f"{weights:,} weights are too many for a stand-in")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
        add_noise(model)
    if (source / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(source)
    for file in small_files.of_processor(source):
        if source != folder:
            shutil.copyfile(file, folder / file.name)
    model.save_pretrained(folder)


def add_noise(model: Any) -> None:
    """Add noise to weights that are all alike, as those of a trained model never are."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            if weight.is_floating_point() and bool((weight == weight.flatten()[0]).all()):
                weight.add_(torch.randn_like(weight), alpha=NOISE)
