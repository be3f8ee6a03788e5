"""Traits of an architecture, seen while its tiny stand-in runs on the CPU: seconds, once per base.

Three images of unlike shapes with texts of unlike lengths make a batch. One row of it at a time
gets another image and another text. What changes then tells whether rows are independent, and where
each layer has the tokens of each row. Then the image encoder's output takes the place of pixels,
and losses and captions have to be the same.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from workers.encoding import collation
from workers.encoding.collation import TokenizedExample
from workers.evaluation.generation import generate
from workers.families import traits as known
from workers.families.base import IMAGE_TEXT, Base, Encoded
from workers.families.prompts import Prompt
from workers.families.traits import UNTRIED, Traits, place_of, places_of
from workers.features import door
from workers.features.images import with_features
from workers.features.store import install_bypass
from workers.models import checkpoint_files
from workers.models.loading import load_base
from workers.recipe import Model
from workers.tiny import stand_in
from workers.training.losses import LearnedTokens, token_losses

log = logging.getLogger(__name__)

SIZES = ((96, 96), (1120, 480), (96, 320))
"""Widths and heights of the images in pixels: square, landscape and large, portrait."""
CAPTIONS = (("a red box", "b blue x"), ("one two three four", "six ten five more"), ("no", "is"))
"""Text of each row, and another one for it."""
PROMPTS = ("what?", "what is to be seen here?", "is it?")
"""Prompt of each row, unlike in length as well."""
TOLERANCE = 1e-5
"""Difference of losses, and relative difference of hidden states, that counts as none: what a sum
in another order makes of float32. The images and texts of stand-ins make 1e-2 and more."""


class NotSeenError(ValueError):
    """A trait that was looked for does not hold."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    image: Encoded
    text: TokenizedExample


@dataclass(frozen=True, kw_only=True)
class _Run:
    losses: list[Tensor]
    """Of each row, those of its learned tokens."""
    inputs: dict[str, list[Tensor]]
    """Linear layer -> what each of its calls reads, (..., width)."""


def of(model: Model) -> Traits:
    """Return the traits of a base, whose stand-in runs if it never has on this machine.

    The base's own weights are not read.
    """
    folder = checkpoint_files.local_folder(model.base, model.revision)
    if folder is None:
        return UNTRIED
    if (found := known.recall(folder)) is not None:
        return found
    try:
        found = _try(model)
    except Exception as error:  # whatever an unknown architecture does
        log.debug("no traits of %s", model.base, exc_info=True)
        reason = f"its stand-in could not be tried: {_first_line(error)}"
        found = Traits(alone=reason, no_features=reason)
        if isinstance(error, (OSError, MemoryError)):  # of this moment, not of the architecture
            return found
    with suppress(OSError):  # then it is found once more by the next process
        known.remember(folder, found)
    return found


def proven(base: Base, model: Model) -> Base:
    """Return a loaded base whose family knows its traits; the base itself where it states them."""
    if base.family.traits is None:
        return base
    return replace(base, family=base.family.having(of(model)))


def _try(model: Model) -> Traits:
    """Return what the base's stand-in shows; raises what it raises."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the base itself the user has them already
        tiny = stand_in.make(model.base, model.revision, Path(folder))
        if not tiny.exact:
            raise NotSeenError(f"there is only {tiny.origin}")
        small = Model(base=tiny.base, dtype="float32")
        return see(load_base(small, "none", torch.device("cpu")))


def see(base: Base) -> Traits:
    """Return the traits of a base, a tiny one: it runs some thirty times, and is changed by it."""
    _make_all_count(base.model)
    try:
        rows, others = zip(*map(partial(_row, base), SIZES, PROMPTS, CAPTIONS), strict=True)
        whole = _run(base, rows)
        in_rows = _rows_are_independent(base, rows, others, whole)
        unmasked = _padding_is_seen_by_none(base, rows, whole)
    except Exception as error:
        log.debug("rows of %s", base.model.config.model_type, exc_info=True)
        reason = f"the rows of its batches were not seen to be independent: {_first_line(error)}"
        return Traits(alone=reason, no_features=reason)
    try:
        features = _kept(base, rows, whole)
    except Exception as error:
        log.debug("features of %s", base.model.config.model_type, exc_info=True)
        reason = f"features were not seen to stand for pixels: {_first_line(error)}"
        features = Traits(no_features=reason)
    return replace(features, in_rows=in_rows, unmasked=unmasked)


def _rows_are_independent(
    base: Base, rows: Sequence[_Row], others: Sequence[_Row], whole: _Run
) -> tuple[str, ...]:
    """Return the places of layers that have the tokens of each row apart, in equal shares."""
    apart, mixed = set(base.linear_layers), set()
    for number, other in enumerate(others):
        alone = _run(base, [rows[number]])
        if _differ(alone.losses[0], whole.losses[number]):
            raise NotSeenError("an image or text of another shape in the batch changes the losses")
        changed = [*rows]
        changed[number] = other
        run = _run(base, changed)
        pairs = list(zip(whole.losses, run.losses, strict=True))
        if any(_differ(*pair) for place, pair in enumerate(pairs) if place != number):
            raise NotSeenError("another image and text in one row changes the losses of others")
        seen = replace(rows[number], image=other.image)
        if not _differ(_run(base, [seen]).losses[0], alone.losses[0]):
            raise NotSeenError("the image changes no loss")
        for layer, calls in whole.inputs.items():
            if not _only_in(number, len(rows), calls, run.inputs.get(layer, [])):
                mixed.add(layer)
        apart &= whole.inputs.keys()
    head = base.model.get_output_embeddings()  # which gets equally many of each slot, as labels do
    mixed = {path for path in mixed if base.model.get_submodule(path) is not head}
    wrong = set(map(place_of, mixed))
    return tuple(place for place in places_of(apart) if place not in wrong)


def _padding_is_seen_by_none(base: Base, rows: Sequence[_Row], whole: _Run) -> bool:
    """Return whether the losses are the same without an attention mask."""
    if base.family.traits is None:
        return False
    own = replace(base, family=base.family.having(replace(UNTRIED, unmasked=True)))
    return not any(map(_differ, whole.losses, _run(own, rows).losses))


def _only_in(row: int, rows: int, before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    """Return whether all that has changed in a layer's calls is in the row's equal share."""
    for old, new in zip(before, after, strict=False):
        share, rest = divmod(old.shape[:-1].numel(), rows)
        if rest or old.shape != new.shape:
            return False
        changed = (old - new).abs().amax(-1) > TOLERANCE * old.abs().max().clamp(min=1e-6)
        places = changed.flatten().nonzero().flatten()
        if not len(places) and old.shape[0] != rows:  # it was not seen whose tokens they are
            return False
        if len(places) and not row * share <= int(places[0]) <= int(places[-1]) < (row + 1) * share:
            return False
    return len(before) == len(after)


def _kept(base: Base, rows: Sequence[_Row], whole: _Run) -> Traits:
    """Return the traits of the image encoder; raise where its output cannot stand for pixels."""
    images = [row.image for row in rows]
    prompts = [Prompt(system=None, text=text) for text in PROMPTS]
    beside = [key for key in images[0] if key not in (door.KEY, IMAGE_TEXT)]
    if not base.family.VISION_CHAIN and door.door_of(base.model) is None:
        raise NotSeenError("its model has no get_image_features")
    if door.KEY not in images[0]:
        raise NotSeenError(f"its processor makes no {door.KEY}")
    vision = tuple(base.family.VISION_CHAIN) or _modules_of(base, images)
    traits = Traits(vision=vision, beside=tuple(beside))
    base = replace(base, family=base.family.having(traits)) if base.family.traits else base
    write = partial(generate, base, base.model, prompts=prompts, max_new_tokens=3)
    texts = [write(images=images, beams=beams) for beams in (1, 2)]
    install_bypass(base)
    alone = [with_features(base, [image])[0][door.KEY] for image in images]
    kept: Sequence[Encoded] = with_features(base, images)
    for one, among in zip(alone, kept, strict=True):
        if one.shape != among[door.KEY].shape or _differ(one, among[door.KEY]):
            raise NotSeenError("an image's features depend on the images beside it")

    def compare(features: Sequence[Encoded]) -> None:
        replaced = [replace(row, image=own) for row, own in zip(rows, features, strict=True)]
        if any(map(_differ, whole.losses, _run(base, replaced).losses)):
            raise NotSeenError("with its features in place of pixels it has other losses")
        if texts != [write(images=features, beams=beams) for beams in (1, 2)]:
            raise NotSeenError("with its features in place of pixels it writes other captions")

    compare(kept)
    for key in beside:
        fewer = [{name: own for name, own in image.items() if name != key} for image in kept]
        try:
            compare(fewer)
        except Exception:  # the model reads it
            log.debug("%s is read beside features", key, exc_info=True)
        else:
            kept = fewer
    layers = kept[0][door.KEY].shape[-1] // base.model.get_input_embeddings().embedding_dim
    left = tuple(key for key in beside if key in kept[0])
    return Traits(vision=vision, beside=left, feature_layers=layers)


def _modules_of(base: Base, images: Sequence[Encoded]) -> tuple[str, ...]:
    """Return the outermost modules with weights that run between pixels and features."""
    outer, called = door.door_of(base.model), dict[str, None]()

    def note(path: str, *_: Any) -> None:
        called.setdefault(path)

    hooks = [
        own.register_forward_pre_hook(partial(note, path))
        for path, own in base.model.named_modules()
        if own not in (outer, base.model) and any(True for _ in own.parameters())
    ]
    try:
        with torch.no_grad():
            door.features_of(base, images)
    finally:
        for hook in hooks:
            hook.remove()
    inside = tuple(f"{path}." for path in called)
    return tuple(path for path in called if not path.startswith(inside))


@torch.no_grad()
def _run(base: Base, rows: Sequence[_Row]) -> _Run:
    """Return the losses of a batch in training, and what its layers read."""
    batch = collation.batch_of(base, [row.image for row in rows], [row.text for row in rows])
    tokens = LearnedTokens.of(base, batch["labels"], torch.zeros(len(rows)))
    base.model.train()
    with _reading(base) as inputs:
        losses = token_losses(base, base.model, batch, tokens)
    base.model.eval()
    return _Run(
        losses=[losses[tokens.rows == number] for number in range(len(rows))], inputs=inputs
    )


@contextmanager
def _reading(base: Base) -> Iterator[dict[str, list[Tensor]]]:
    """Give what the linear layers read for a while."""
    inputs: dict[str, list[Tensor]] = {}

    def read(path: str, module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs.setdefault(path, []).append(args[0].detach().clone())

    hooks = [
        base.model.get_submodule(path).register_forward_pre_hook(partial(read, path))
        for path in base.linear_layers
    ]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _row(
    base: Base, size: tuple[int, int], prompt: str, captions: tuple[str, str]
) -> tuple[_Row, _Row]:
    """Return a row, and another one with equally many tokens everywhere."""
    own, other = (base.family.encode(base, _noise(size, seed)) for seed in (0, 1))
    asked = Prompt(system=None, text=prompt)
    text, changed = (collation.training_row(base, own, asked, caption) for caption in captions)
    few = min(text.learned, changed.learned)
    return _Row(image=own, text=_cut(text, few)), _Row(image=other, text=_cut(changed, few))


def _cut(text: TokenizedExample, most: int) -> TokenizedExample:
    """Return the text with the last of its learned tokens, at most so many."""
    *before, (tokens, learned) = text.parts
    return replace(text, parts=(*before, (tokens[-most:], learned)))


def _noise(size: tuple[int, int], seed: int) -> Image.Image:
    """Return an image of coloured squares."""
    generator = torch.Generator().manual_seed(seed)
    squares = torch.randint(256, (5, 7, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(squares.numpy()).resize(size, Image.Resampling.NEAREST)


def _make_all_count(model: torch.nn.Module) -> None:
    """Fill weights that begin as zeros, such as gates, behind which an image would not be seen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.is_floating_point() and not weight.any():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)


def _differ(one: Tensor, other: Tensor) -> bool:
    scale = one.abs().max().clamp(min=1.0)
    return one.shape != other.shape or bool((one - other).abs().max() > TOLERANCE * scale)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
