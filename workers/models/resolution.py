"""Limits of the pixels of an image, ``model.min_pixels`` and ``model.max_pixels``.

A processor has options of its own for them: counts of pixels (Qwen-VL, GLM-4V), the longest edge
(Pixtral), numbers of tiles (InternVL, Aya Vision, MiniCPM-V), sizes to choose from (LLaVA-NeXT),
tokens (Gemma 4). Counted are the pixels of the resized image, over all its tiles, a thumbnail
beside them left out. Kinds are told apart by their options, so a new processor with the options of
a known one needs nothing here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.recipe import Model

Options = Mapping[str, Any]
SIZES = "image_grid_pinpoints"
"""LLaVA's sizes to choose from, which its models read, too."""
_TOKENS = (70, 140, 280, 560, 1120)
"""What Gemma 4's processor takes as max_soft_tokens."""
_TILES = {
    "crop_to_patches": ("max_patches", "min_patches"),
    "slice_mode": ("max_slice_nums", None),
}
"""Option that lets a processor cut images into square tiles -> those of the most and the fewest."""


class _RefusedError(ValueError):
    """What a limit must be: ``must be at least ...``; with the field in front it is the error."""

    def __init__(self, upper: bool, must: str) -> None:
        super().__init__(must)
        self.field = f"model.{'max' if upper else 'min'}_pixels"


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """The limits that are asked for; None for the processor's own."""

    least: int | None
    most: int | None

    def count(self, unit: int, what: str) -> int | None:
        """Return how many units of so many pixels are the most, at least one."""
        if self.most is not None and self.most < unit:
            raise _RefusedError(True, f"must be at least {unit}, the pixels of one {what}")
        return None if self.most is None else self.most // unit

    def refuse_least(self) -> None:
        """Refuse a lower limit."""
        if self.least is not None:
            raise _RefusedError(False, "must be null: the processor has no lower limit")


def set_limits(processor: Any, model: Model, config: Any = None) -> None:
    """Give a loaded processor the limits of a model, and the config the sizes that it reads, too.

    Raises ValueError, naming the field, where the processor has no such limit, or where it is
    below what it can do.
    """
    limits = _Limits(least=model.min_pixels, most=model.max_pixels)
    if limits.least is None and limits.most is None:
        return
    images = processor.image_processor
    options = {**vars(images), **(getattr(processor, "images_kwargs", None) or {})}
    name, least, most = type(images).__name__, model.min_pixels, model.max_pixels
    try:
        found = next((made for kind in _KINDS if (made := kind(options, limits)) is not None), None)
        if found is None:
            raise _RefusedError(limits.most is not None, f"must be null: {_fixed(options)}")
    except _RefusedError as error:
        value = most if error.field == "model.max_pixels" else least
        raise ValueError(
            f"{error.field} {error}, got {value}; the processor of {model.base!r} is {name}"
        ) from None
    for option, value in found.items():
        setattr(images, option, value)
    if SIZES in found and config is not None:
        setattr(config, SIZES, found[SIZES])


def check_shared(config: Mapping[str, Any], models: Sequence[Model]) -> None:
    """Raise ValueError, naming the fields, where trials of these models cannot share a base."""
    if config.get(SIZES) and len({(own.min_pixels, own.max_pixels) for own in models}) > 1:
        raise ValueError(
            "model.min_pixels and model.max_pixels must be the same in all trials of a sweep: the "
            f"model {models[0].base!r} reads {SIZES} itself; run a sweep for each value"
        )


def _fixed(options: Options) -> str:
    """Return why a processor has no limits to set."""
    if "max_image_tiles" in options:
        return "the model has learned a vector for each division of an image into tiles"
    size = {**(_edges(options.get("crop_size")) or _edges(options.get("size")))}
    if {"height", "width"} <= size.keys():
        return f"every image becomes {size['width']} x {size['height']} pixels"
    return "its images are sized by no option that is known here"


def _counts(options: Options, limits: _Limits) -> Options | None:
    """Counts of pixels, called edges, of images that keep their shape."""
    size = _edges(options.get("size"))
    if "merge_size" not in options or not {"shortest_edge", "longest_edge"} <= size.keys():
        return None
    limits.count((options["patch_size"] * options["merge_size"]) ** 2, "token")
    least, most = limits.least, limits.most
    shortest = min(size["shortest_edge"], most or math.inf) if least is None else least
    longest = max(size["longest_edge"], least or 0) if most is None else most
    return {"size": _like(options["size"], shortest_edge=int(shortest), longest_edge=int(longest))}


def _longest_edge_of_tiles(options: Options, limits: _Limits) -> Options | None:
    """The longest edge of an image that is cut into square tiles (Idefics 3, SmolVLM)."""
    tile = _edges(options.get("max_image_size")).get("longest_edge")
    if tile is None or not options.get("do_image_splitting"):
        return None
    limits.refuse_least()
    edge = tile * math.isqrt(limits.count(tile**2, "tile") or 1)
    return {"size": _like(options["size"], longest_edge=edge)}


def _longest_edge(options: Options, limits: _Limits) -> Options | None:
    """The longest edge of an image of patches (Pixtral, Mistral 3)."""
    if _edges(options.get("size")).keys() != {"longest_edge"} or "max_image_size" in options:
        return None
    patch = options["patch_size"]
    side = patch if isinstance(patch, int) else max(_edges(patch).values())
    limits.refuse_least()
    edge = side * math.isqrt(limits.count(side**2, "patch") or 1)
    return {"size": _like(options["size"], longest_edge=edge)}


def _sides(options: Options, limits: _Limits) -> Options | None:
    """The shortest and the longest edge of an image that keeps its shape (Idefics 2)."""
    size = _edges(options.get("size"))
    if size.keys() != {"shortest_edge", "longest_edge"} or "do_image_splitting" not in options:
        return None
    shortest, longest = size["shortest_edge"], size["longest_edge"]
    if limits.least is not None:
        shortest = math.isqrt(limits.least - 1) + 1
        longest = max(longest, shortest)
    if limits.most is not None:
        longest = math.isqrt(limits.most)
        shortest = min(shortest, longest)
    return {"size": _like(options["size"], shortest_edge=shortest, longest_edge=longest)}


def _sizes(options: Options, limits: _Limits) -> Options | None:
    """Sizes to choose from, by which an image is cut into tiles (LLaVA-NeXT and OneVision)."""
    sizes: Sequence[Sequence[int]] | None = options.get(SIZES)
    if not sizes:
        return None
    pixels = [height * width for height, width in sizes]
    if limits.most is not None and limits.most < min(pixels):
        must = f"must be at least {min(pixels)}, the smallest of its image_grid_pinpoints"
        raise _RefusedError(True, must)
    if limits.least is not None and limits.least > max(pixels):
        must = f"must be at most {max(pixels)}, the largest of its image_grid_pinpoints"
        raise _RefusedError(False, must)
    least, most = limits.least or 0, limits.most or math.inf
    kept = [list(size) for size, own in zip(sizes, pixels, strict=True) if least <= own <= most]
    if not kept:
        raise _RefusedError(True, "and model.min_pixels must have a size between them")
    return {SIZES: kept}


def _tiles(options: Options, limits: _Limits) -> Options | None:
    """The numbers of square tiles."""
    for cuts, (upper, lower) in _TILES.items():
        if not options.get(cuts):
            continue
        size = _edges(options.get("size"))
        side = options.get("scale_resolution")
        unit = side**2 if side else size["height"] * size["width"]
        if lower is None:
            limits.refuse_least()
        fewest = None if limits.least is None else max(1, math.ceil(limits.least / unit))
        most = limits.count(unit, "tile")
        if fewest is not None and most is not None and fewest > most:
            must = f"must have room for {fewest} tiles of {unit} pixels, as model.min_pixels asks"
            raise _RefusedError(True, must)
        chosen = {lower: fewest, upper: most}
        if most is None and fewest is not None:
            chosen[upper] = max(options[upper], fewest)
        if fewest is None and lower is not None and most is not None:
            chosen[lower] = min(options[lower], most)
        return {name: value for name, value in chosen.items() if name and value is not None}
    return None


def _soft_tokens(options: Options, limits: _Limits) -> Options | None:
    """The most tokens of an image, each of some patches (Gemma 4)."""
    if "max_soft_tokens" not in options:
        return None
    limits.refuse_least()
    unit = (options["patch_size"] * options["pooling_kernel_size"]) ** 2
    most = limits.most or 0
    fitting = [count for count in _TOKENS if count * unit <= most]
    if not fitting:
        must = f"must be at least {_TOKENS[0] * unit}, the pixels of {_TOKENS[0]} tokens"
        raise _RefusedError(True, must)
    return {"max_soft_tokens": fitting[-1]}


_KINDS: tuple[Callable[[Options, _Limits], Options | None], ...] = (
    *(_counts, _longest_edge_of_tiles, _longest_edge, _sides, _sizes, _tiles, _soft_tokens),
)
"""Each returns the options to set, or None for a processor that is sized in another way."""


def _edges(size: Any) -> dict[str, int]:
    """Return the edges that a size of transformers names."""
    if size is None or isinstance(size, int):
        return {}
    values = size if isinstance(size, Mapping) else vars(size)
    return {name: int(value) for name, value in values.items() if value is not None}


def _like(size: Any, **edges: int) -> Any:
    """Return a size of the same class with these edges."""
    return dict(edges) if isinstance(size, dict) else type(size)(**edges)
