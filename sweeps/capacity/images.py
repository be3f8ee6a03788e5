"""The tokens of images in ``sweeps plan``: of the data's own sizes, by the base's own processor.

Sizes are read from the headers of files, and no image is decoded. Shown where data and processor
are on this machine.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image

from sweeps.capacity.memory import BaseName, Bases, Files, corners
from sweeps.results.retention import format_bytes
from sweeps.spec.sweep import Sweep
from workers import data
from workers.data.contents import in_threads
from workers.data.images import ImageError, read_size
from workers.families.base import Base
from workers.files.addresses import is_address
from workers.host.combinations import conflicts
from workers.memory.fit import Device
from workers.memory.footprint import estimate
from workers.models import checkpoint_files, resolution
from workers.recipe import Model, Recipe

MOST_READ = 5000
"""Images of which the size is read; of more, as many are drawn."""
MOST_TRIED = 32
"""Sizes of which a blank image is prepared, where a processor does not tell its tokens by size."""
_MORE = 1.1
"""How much more the largest image must take than the usual one to be named."""

Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True, kw_only=True)
class ImageSizes:
    """The sizes of a data set's images, as far as their headers can be read."""

    by_path: Mapping[Path, Size]
    count: int
    """Images in all."""

    @classmethod
    def of(cls, sweep: Sweep) -> "ImageSizes | None":
        """Read them; None where no images are on this machine."""
        if sweep.data.path is None or is_address(sweep.data.path):
            return None
        try:
            images = data.files(sweep.data).images
        except (ValueError, OSError):
            return None
        chosen = images
        if len(images) > MOST_READ:
            chosen = tuple(random.Random(0).sample(images, MOST_READ))
        sizes = zip(chosen, in_threads(_size, chosen), strict=True)
        found = {path: size for path, size in sizes if size is not None}
        return cls(by_path=found, count=len(images)) if found else None


def lines(sweep: Sweep, files: Files, device: Device | None) -> Iterator[tuple[str, str]]:
    """Yield what is known of the tokens of images, as (heading, text), for each resolution.

    Raises ValueError, naming ``model.min_pixels`` or ``model.max_pixels``, for limits that a base's
    processor does not have, or that trials with other ones cannot have beside them.
    """
    recipes = {own.model: own for own in corners(sweep) if not conflicts(own)}
    limited = any(own.max_pixels or own.min_pixels for own in recipes)
    sizes = ImageSizes.of(sweep) if files else None
    if not limited and sizes is None:
        return
    for model, recipe in recipes.items():
        name = model.base, model.revision
        if name not in files:
            continue
        resolution.check_shared(files[name].config, [own for own in recipes if own.base == name[0]])
        base = _base(name, model)
        if sizes is not None and base is not None:
            yield from _of_resolution(recipe, base, sizes, files, device)


def _of_resolution(
    recipe: Recipe, base: Base, sizes: ImageSizes, files: Files, device: Device | None
) -> Iterator[tuple[str, str]]:
    tokens, refused = _tokens(base, sizes.by_path)
    limits = {"min_pixels": recipe.model.min_pixels, "max_pixels": recipe.model.max_pixels}
    asked = "".join(f", {field} {value:,}" for field, value in limits.items() if value is not None)
    for path, reason in refused.items():
        yield "images", f"{path.name} cannot be used{asked}: {reason}"
    if not tokens:
        return
    known = sorted(tokens.values())
    largest = max(tokens, key=lambda path: (tokens[path], math.prod(sizes.by_path[path])))
    width, height = sizes.by_path[largest]
    seen = len(tokens) + len(refused)
    drawn = f"; {seen:,} drawn of {sizes.count:,}" if seen < sizes.count else ""
    if known[0] == known[-1]:
        plural = "" if known[0] == 1 else "s"
        yield "images", f"{known[0]:,} token{plural} each{asked}{drawn}"
        return
    most = known[min(len(known) - 1, int(0.95 * len(known)))]
    text = f"median {median(known):,.0f} tokens, 95 % up to {most:,}, largest {known[-1]:,}"
    yield "images", f"{text} ({largest.name}, {width} x {height} pixels){asked}{drawn}"
    architecture = Bases(files).of(recipe)
    if architecture is None or device is None:
        return
    usual = estimate(recipe, architecture, gpu=device.gpu, rows=1)
    one = estimate(recipe, architecture, gpu=device.gpu, rows=1, image=known[-1])
    if one.step < _MORE * usual.step:
        return
    cost = f"{largest.name} takes {format_bytes(one.step)} in a step by itself"
    counted = f"a usual image, which is counted below, {format_bytes(usual.step)}"
    advice = "model.max_pixels scales such images down"
    if one.fixed + one.step > device.room:
        advice = f"it does not fit: {advice}, or leave it out"
    yield "  largest", f"{cost}, {counted}; {advice}"


def _base(name: BaseName, model: Model) -> Base | None:
    """Return a base without weights, its processor with the limits of a model.

    None where the processor cannot be loaded.
    """
    from workers.models.loading import without_weights

    folder = checkpoint_files.local_folder(*name)
    assert folder is not None, "its files were found there"
    try:
        base = without_weights(folder)
    except ValueError:
        return None
    resolution.set_limits(base.processor, model)
    return base


def _tokens(base: Base, sizes: Mapping[Path, Size]) -> tuple[dict[Path, int], dict[Path, str]]:
    """Return the tokens of each image, and why others have none."""
    found: dict[Size, int] = {}
    refused: dict[Size, str] = {}
    ordered = sorted(set(sizes.values()), key=math.prod)
    count = _stated
    try:
        count(base, ordered[-1])
    except (AttributeError, KeyError, NotImplementedError, TypeError):
        count, ordered = _tried, ordered[:: -math.ceil(len(ordered) / MOST_TRIED)]
    except ValueError:
        pass  # it is named below
    for size in ordered:
        try:
            found[size] = count(base, size)
        except NotImplementedError:  # an image has no tokens of its own
            return {}, {}
        except ValueError as error:
            refused[size] = str(error)
    named = sizes.items()
    return (
        {path: found[size] for path, size in named if size in found},
        {path: refused[size] for path, size in named if size in refused},
    )


def _stated(base: Base, size: Size) -> int:
    """Return the tokens of an image as the processor tells them, which vLLM asks it for, too."""
    made = base.processor._get_num_multimodal_tokens(image_sizes=[[size[1], size[0]]])
    return int(made["num_image_tokens"][0])


def _tried(base: Base, size: Size) -> int:
    """Return the tokens of a blank image."""
    return base.family.image_places(base, base.family.encode(base, Image.new("RGB", size)))


def _size(path: Path) -> Size | None:
    """Return an image's upright size from its header; None for one that is not to be read."""
    try:
        return read_size(path)
    except ImageError:  # it is named when it is loaded
        return None
