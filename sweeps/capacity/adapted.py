"""What a sweep's trials train of its bases, and what they leave room for, before anything starts.

A plan and a run refuse the same, by the functions of the host.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from sweeps.capacity.memory import BaseName, Files, base_names
from sweeps.spec.sweep import Sweep
from workers.memory.layers import PICTURE, QUESTION_TOKENS, row_of
from workers.memory.weights import adapted_paths
from workers.models import builtin, checkpoint_files, small_files
from workers.models.checkpoint_files import CheckpointFiles
from workers.models.targets import adapted_layers, check_trained_modules, trained_ties
from workers.recipe import Adapter

_HEADS = ("lm_head", "output", "language_model.lm_head")
"""Usual paths of the head, which may share its weight with the embedding of tokens."""
_KINDS = 8
"""Kinds of layers that a line names."""
_FAR = 4
"""A prompt that is this many times as long as estimated would still fit: no need to measure it."""


@dataclass(frozen=True, kw_only=True)
class TrainedModules:
    """What trials with some targets and trained modules train of one base."""

    base: str
    adapter: Adapter
    files: CheckpointFiles
    folder: Path

    @cached_property
    def fault(self) -> str | None:
        """Why a host refuses such a trial, naming the field; None where it does not."""
        if self._is_plain:
            return None
        try:
            check_trained_modules(self.adapter, checkpoint_files.empty_base(self.folder))
        except ValueError as error:
            return str(error)
        return None

    @cached_property
    def layers(self) -> list[str]:
        """Paths of the layers that get an A and a B; empty for a refused trial."""
        if self._is_plain:
            return adapted_paths(self.adapter, self.files)
        if self.fault:
            return []
        return [*adapted_layers(self.adapter, checkpoint_files.empty_base(self.folder))]

    @cached_property
    def tied(self) -> tuple[str, ...]:
        """See `workers.models.targets.trained_ties`."""
        if self._is_plain or self.fault:
            return ()
        return trained_ties(self.adapter, checkpoint_files.empty_base(self.folder))

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the names in the checkpoint's files tell all: a target set, and no head in it.

        Otherwise the model of the config is made, without weights, which takes a few seconds.
        """
        targets, family = self.adapter.targets, self.files.family
        if self.adapter.trained_modules or targets not in family.TARGETS:
            return False
        pattern = re.compile(family.TARGETS[targets])
        heads = any(map(pattern.fullmatch, _HEADS))
        return not heads and bool(adapted_paths(self.adapter, self.files))


def trained(sweep: Sweep, files: Files) -> list[TrainedModules]:
    """Return all that the space may combine of targets and trained modules, for each base here."""
    targets = sweep.swept("adapter.targets", sweep.adapter.targets)
    modules = sweep.swept("adapter.trained_modules", sweep.adapter.trained_modules)
    folders = {name: checkpoint_files.local_folder(*name) for name in files}
    return [
        TrainedModules(
            base=name[0],
            adapter=sweep.adapter.model_copy(update={"targets": own, "trained_modules": more}),
            files=files[name],
            folder=folder,
        )
        for (name, folder), own, more in product(folders.items(), targets, modules)
        if folder is not None  # gone meanwhile
    ]


def refuse(sweep: Sweep, files: Files) -> None:
    """Refuse bases without a processor, and targets and modules that no base of the sweep has.

    Raises ValueError, naming the field, the closest layers and the base. A base that is not on
    this machine may have them; of one on the hub it is asked whether this user may have it.
    """
    for name in base_names(sweep):
        if name in files:
            checkpoint_files.refuse_without_processor(*name)
        elif name[0] not in builtin.BASES:
            small_files.refuse_unknown(*name)
    if len(files) < len(base_names(sweep)):
        return
    every = trained(sweep, files)
    for field in ("targets", "trained_modules"):
        for value in dict.fromkeys(getattr(one.adapter, field) for one in every):
            own = [one for one in every if getattr(one.adapter, field) == value]
            if all(one.fault for one in own):
                raise ValueError(f"{own[0].fault} (model.base: {own[0].base})")


def lines(sweep: Sweep, files: Files) -> Iterator[tuple[str, str]]:
    """Yield what is adapted of each base, as (heading, text)."""
    several = len(base_names(sweep)) > 1
    for one in trained(sweep, files):
        base = f" of {one.base}" if several else ""
        modules = "".join(f", {path} as a whole" for path in one.adapter.trained_modules)
        if one.fault:
            yield "  unfit", f"trials with {one.adapter.targets}{modules}{base}: {one.fault}"
            continue
        kinds = dict.fromkeys(".".join(path.split(".")[-2:]) for path in one.layers)
        named = ", ".join([*kinds][:_KINDS]) + (", ..." if len(kinds) > _KINDS else "")
        text = f"{one.adapter.targets}{base}: {len(one.layers)} layers{modules} ({named})"
        yield "adapter", text
        if one.tied:
            yield (
                "  tied",
                f"{' and '.join(one.tied)} share one weight: the adapter is right as peft loads "
                "it, and must not be merged into the base, which would be another model",
            )


def captions(sweep: Sweep, files: Files) -> Iterator[tuple[str, str]]:
    """Yield how long captions can be with each base, as (heading, text).

    Raises ValueError, naming ``prompt.text``, where a prompt leaves no room for any.
    """
    asked, several = sweep.evaluate.max_new_tokens, len(files) > 1
    for name, own in files.items():
        base = f" with {name[0]}" if several else ""
        positions = (own.config.get("text_config") or own.config).get("max_position_embeddings")
        taken = row_of(sweep.recipe, own).read
        if own.file_bytes and positions and positions >= asked + _FAR * taken:
            text = f"about {taken} of {positions:,} positions are taken by image and prompt"
            yield "positions", f"of up to {asked} tokens{base}; {text}"
            continue
        measured = _room(sweep, name)
        if measured is None:
            continue
        most, prompt, positions = measured
        text = f"image and prompt take {prompt:,} of {positions:,} positions"
        if most < asked:
            yield "positions", f"of at most {most} tokens{base}, not {asked} as asked: {text}"
        else:
            yield "positions", f"of up to {asked} tokens{base}; {text}"


def _room(sweep: Sweep, name: BaseName) -> tuple[int, int, int] | None:
    """Return the most tokens of a caption, those of a prompt, and the base's positions.

    By the base's own processor, with an image of `PICTURE` pixels and, where one is asked, a
    question of `QUESTION_TOKENS` words. None where the processor cannot be loaded.
    """
    from PIL import Image

    from workers.encoding.collation import prompt_lengths
    from workers.evaluation.generation import most_new_tokens
    from workers.families.prompts import PromptBuilder
    from workers.models import resolution
    from workers.models.loading import without_weights

    folder = checkpoint_files.local_folder(*name)
    assert folder is not None, "its files were found there"
    try:
        base = without_weights(folder)
        resolution.set_limits(base.processor, sweep.model)
    except ValueError:
        return None
    side = math.isqrt(PICTURE)
    image = base.family.encode(base, Image.new("RGB", (side, side)))
    question = " ".join(["what"] * QUESTION_TOKENS) if sweep.task == "vqa" else None
    prompt = PromptBuilder(task=sweep.task, prompt=sweep.prompt).build(base.family, question, "")
    (length,) = prompt_lengths(base, [image], [prompt])
    return most_new_tokens(base, length, sweep.evaluate.max_new_tokens), length, base.positions
