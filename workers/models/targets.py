"""The layers of a base that a trial trains, by their paths; others are refused by name.

Works on a loaded base and on one whose weights are empty, so that a plan refuses what a host would.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from math import prod
from typing import Any

from workers.families import REGEX, target_pattern
from workers.families.base import Base
from workers.recipe import Adapter

_SHOWN = 3
"""Paths that a message names."""


def adapted_layers(adapter: Adapter, base: Base) -> tuple[str, ...]:
    """Return the paths of the linear layers that get an A and a B.

    Raises ValueError, naming ``adapter.targets``, where there are none or a match is no linear
    layer.
    """
    pattern = re.compile(target_pattern(base.family, adapter.targets))
    matched = [path for path in base.modules if pattern.fullmatch(path)]
    linear = set(base.linear_layers)
    others = [path for path in matched if path not in linear]
    if others or not matched:
        found = f"it matches {others[0]!r}" if others else "it matches nothing"
        near = ", ".join(map(repr, nearest_layers(adapter.targets, base.linear_layers)))
        raise ValueError(
            f"adapter.targets must match linear layers of the base and nothing else, such as "
            f"{near}; got {adapter.targets!r}: {found}"
        )
    _refuse_experts(matched, base)
    return tuple(matched)


def peft_targets(adapter: Adapter, base: Base) -> str | list[str]:
    """Return what peft is given as ``target_modules``.

    That is the regular expression. For some architectures with experts peft makes names without
    paths of it, which others have as well; there it is the paths of the layers.
    """
    pattern = target_pattern(base.family, adapter.targets)
    layers = adapted_layers(adapter, base)
    as_given = _converted(pattern, base).target_modules == pattern
    return pattern if as_given else list(layers)


def check_trained_modules(adapter: Adapter, base: Base) -> None:
    """Refuse modules that are not there, or that peft would not take alone.

    Raises ValueError, naming ``adapter.trained_modules`` or ``adapter.targets``.
    """
    layers = adapted_layers(adapter, base)
    for path in adapter.trained_modules:
        _check_trained_module(path, layers, base)


def trained_ties(adapter: Adapter, base: Base) -> tuple[str, ...]:
    """Return the head and the embedding that share a weight, where a trial trains either.

    peft adds to the head alone, as it has to. Merged, the sum is in the embedding as well: the
    merged model is another one.
    """
    layers, copied = adapted_layers(adapter, base), adapter.trained_modules
    trained = any(
        path in layers or any(f"{path}.".startswith(f"{one}.") for one in copied)
        for path in base.tied_modules
    )
    return base.tied_modules if trained else ()


def experts_note(shapes: Mapping[str, Sequence[int]]) -> str | None:
    """Return what of a mixture of experts is adapted and what is not; None for another base.

    `shapes` are those of the base's weights by their names. transformers keeps all experts of a
    block in one tensor, which is no linear layer; the target sets leave out those it keeps apart.
    """
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    experts = sum(size for name, size in sizes.items() if ".experts." in name)
    if not experts:
        return None
    return (
        f"{experts / sum(sizes.values()):.0%} of the weights, which stay as they are: target sets "
        "have attention, dense layers and shared experts"
    )


def nearest_layers(targets: str, paths: Iterable[str]) -> list[str]:
    """Return the layers that a regular expression, or a target set, may have meant: a few kinds.

    Of layers that differ in numbers alone it is the first.
    """
    kinds = {re.sub(r"\d+", "0", path): path for path in reversed([*paths])}
    words = re.findall(r"[A-Za-z]\w+", targets.removeprefix(REGEX).replace(r"\d", "0"))

    def closeness(kind: str) -> float:
        parts = kind.split(".")
        ratios = [max(SequenceMatcher(None, w, p).ratio() for p in parts) for w in words]
        leaf = max((SequenceMatcher(None, w, parts[-1]).ratio() for w in words), default=0.0)
        return leaf + sum(ratios) / max(1, len(ratios))

    return [kinds[kind] for kind in sorted(kinds, key=closeness, reverse=True)[:_SHOWN]]


def _refuse_experts(layers: Sequence[str], base: Base) -> None:
    """Refuse layers in whose place peft would adapt experts, inside which they have namesakes."""
    if _adapts_experts(layers, base):
        first = next(layer for layer in layers if _adapts_experts([layer], base))
        raise ValueError(
            f"adapter.targets must leave out layers such as {first!r}: for a base of type "
            f"{base.model.config.model_type!r} peft adapts the experts in their place"
        )


def _adapts_experts(layers: Sequence[str], base: Base) -> bool:
    try:
        return bool(_converted(list(layers), base).target_parameters)
    except ValueError:  # of the layers that are one in the experts some are lacking
        return True


def _converted(targets: str | list[str], base: Base) -> Any:
    """Return the configuration that peft makes of these targets for the base's architecture."""
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    config = LoraConfig(target_modules=targets)
    convert_peft_config_for_transformers(config, base.model, None)
    return config


def _check_trained_module(path: str, layers: Sequence[str], base: Base) -> None:
    field = "adapter.trained_modules must be full paths of modules of the base"
    if path not in base.modules:
        near = get_close_matches(path, base.modules, _SHOWN)
        close = f"; the closest are {', '.join(map(repr, near))}" if near else ""
        raise ValueError(f"{field}, got {path!r}{close}")
    others = [other for other in base.modules if other != path and other.endswith(path)]
    if others:  # peft takes every module whose path ends so
        raise ValueError(
            f"{field} that no other path ends with, got {path!r}, with which "
            f"{others[0]!r} ends, too; adapt it with adapter.targets instead"
        )
    inside = [layer for layer in layers if f"{layer}.".startswith(path + ".")]
    if inside:
        raise ValueError(
            f"{field} outside of adapter.targets, got {path!r}, which has {inside[0]!r}"
        )
    if not all(p.is_floating_point() for p in base.model.get_submodule(path).parameters()):
        raise ValueError(f"{field} that are not quantized, got {path!r}")
