"""Residents of a host that all its trials share: data, bases, and what is derived from both."""

from dataclasses import dataclass, field, replace

import torch

from workers import traits
from workers.encoding.fitness import fitting
from workers.evaluation.evaluator import Evaluator
from workers.evaluation.scoring import Scoring
from workers.families.base import Base
from workers.families.prompts import PromptBuilder
from workers.features.decoding import DecoderPool
from workers.features.frozen import vision_is_frozen
from workers.features.images import ImageWaits
from workers.features.store import CPU_BYTES, Allowance, Store
from workers.host import rungs
from workers.memory import errors
from workers.memory.device import DeviceMemory, Group, group_of
from workers.memory.fit import Device
from workers.memory.layers import DataExtent
from workers.models.loading import at_resolution, load_base
from workers.models.targets import adapted_layers
from workers.packing.eligible import why_not_packed
from workers.packing.model import Precision, precision_of
from workers.packing.pack import Pack
from workers.recipe import Data, Evaluate, Model, Recipe
from workers.report import Report
from workers.slots.protocol import Trainer
from workers.slots.sequential import SequentialTrainer
from workers.training.loop import Examples

ScoreKey = tuple[Model, Data, Evaluate, PromptBuilder]
"""All that decides the scores of one adapter."""


@dataclass(kw_only=True)
class _SlotGroup:
    """The shared objects of one group of slots."""

    sequential: SequentialTrainer
    store: Store | None
    """Features of the base's images; None where they are not known."""
    bases: dict[Model, Base]
    """The base with the processor of each resolution."""
    # By what they read, too: the store of features, or None for pixels.
    examples: dict[tuple[Model, Data, PromptBuilder, Store | None], Examples] = field(
        default_factory=dict
    )
    evaluators: dict[tuple[ScoreKey, Store | None], Evaluator] = field(default_factory=dict)
    zero_shot: dict[ScoreKey, Report] = field(default_factory=dict)
    packs: dict[tuple[Model, Store | None, Precision], Pack] = field(default_factory=dict)
    """A pack for those that read features, and one for those that read pixels, in each precision
    of ``adapter.compute_dtype`` and at each resolution, for the rows of a pass are equally long."""

    @property
    def base(self) -> Base:
        """The base of the group."""
        return self.sequential.adapted.base

    @property
    def occupied(self) -> bool:
        """Whether any slot uses it."""
        return self.sequential.occupied or any(pack.occupied for pack in self.packs.values())

    def store_for(self, recipe: Recipe) -> Store | None:
        """Return the store if the recipe's adapter leaves the image encoder alone."""
        return self.store if vision_is_frozen(recipe.adapter, self.base) else None


class Residents:
    """Loads on first use what the trials of a host share, and keeps it; see `Host`."""

    def __init__(
        self,
        device: torch.device,
        scoring: Scoring,
        *,
        packing: bool,
        share: Device | None = None,
        decoders: int = 0,
    ) -> None:
        self._device = device
        self._packing = packing
        self.scoring = scoring
        self.images_prepared = (0, 0)
        """See `Host`."""
        self._decoders = DecoderPool(decoders) if decoders else None
        if self._decoders:
            self._decoders.start()  # they import what they need while the base loads
        self._groups: dict[Group, _SlotGroup] = {}
        self._extents: dict[Data, DataExtent] = {}
        on_gpu = share is not None and share.gpu
        self._features = Allowance(int(share.features) if share and on_gpu else CPU_BYTES)
        self._beside = Allowance(int(share.beside) if share and on_gpu else 0)
        self.device_memory = DeviceMemory(share, lambda: self._features.total, self._make_room)

    def __len__(self) -> int:
        """Return how many bases are loaded."""
        return len(self._groups)

    def trainer(self, recipe: Recipe) -> Trainer:
        """Return the trainer of the recipe: a pack if it can be packed."""
        group = self._group(recipe)
        if self.why_not_packed(recipe):
            return group.sequential
        precision = precision_of(recipe.adapter.compute_dtype, group.base)
        key = recipe.model, group.store_for(recipe), precision
        if key not in group.packs:
            bare = group.sequential.adapted.bare
            group.packs[key] = Pack(group.base, bare, self.device_memory, precision)
        return group.packs[key]

    def why_not_packed(self, recipe: Recipe) -> str | None:
        """Return why the recipe does not train in a pack on this host; None if it does.

        Its base is loaded for it.
        """
        if not self._packing:
            return "packing is off"
        base = self._group(recipe).base
        layers = adapted_layers(recipe.adapter, base)
        return why_not_packed(recipe, base.family, layers)

    def count(self, name: str, recipe: Recipe) -> None:
        """Count the memory of a trial that has got a slot."""
        pack = None if self.why_not_packed(recipe) else (group_of(recipe), id(self.trainer(recipe)))
        self.device_memory.open(name, recipe, pack, self.extent(recipe))

    def extent(self, recipe: Recipe) -> DataExtent:
        """Return the sizes of the recipe's data that memory depends on."""
        if recipe.data not in self._extents:
            splits = self.scoring.data_set(recipe).splits
            questions = [own.question or "" for own in splits["train"]]
            captions = [text for own in splits["train"] for text in own.captions]
            self._extents[recipe.data] = DataExtent(
                images=sum(map(len, splits.values())),
                question=max(len(text.encode()) for text in questions),
                caption=max(len(text.encode()) for text in captions),
            )
        return self._extents[recipe.data]

    def examples(self, recipe: Recipe) -> Examples:
        """Return the pairs that the recipe trains with, and with them counters of their own.

        What can be made of their images in advance is made on first use.
        """
        group, prompts = self._group(recipe), _prompts(recipe)
        store = group.store_for(recipe)
        key = (recipe.model, recipe.data, prompts, store)
        if key not in group.examples:
            samples = self.scoring.data_set(recipe).splits["train"]
            made = Examples.of(self._base(recipe), samples, prompts, store, self._decoders)
            self.device_memory.attempt(lambda: made.pixels.prepare(self._prepared))
            group.examples[key] = made
        return replace(group.examples[key], waits=ImageWaits())

    def evaluator(self, recipe: Recipe) -> Evaluator:
        """Return the evaluator of the recipe's rungs."""
        group = self._group(recipe)
        store = group.store_for(recipe)
        key = (_score_key(recipe), store)
        if key not in group.evaluators:
            evaluator = Evaluator(
                self._base(recipe),
                self.scoring.scored_samples(recipe),
                self.scoring.scorer(recipe),
                recipe.evaluate,
                _prompts(recipe),
                store,
                self._decoders,
            )
            self.device_memory.attempt(lambda: evaluator.prepare(self._prepared))
            group.evaluators[key] = evaluator
        return group.evaluators[key]

    def zero_shot(self, name: str, recipe: Recipe) -> Report:
        """Return rung 0 of the trial in the slot of that name: the base's own scores."""
        group, key = self._group(recipe), _score_key(recipe)
        if key not in group.zero_shot:
            evaluator, memory = self.evaluator(recipe), self.device_memory
            at_once = memory.captions([name], recipe.evaluate.beams, len(evaluator.samples))
            group.zero_shot[key] = memory.attempt(
                lambda: rungs.zero_shot(group.sequential.adapted, evaluator, recipe, at_once)
            )
        return group.zero_shot[key]

    def close(self) -> None:
        """Release scorers, bases and decoders."""
        self.scoring.close()
        self._groups.clear()
        if self._decoders:
            self._decoders.close()

    def _prepared(self, done: int, count: int) -> None:
        self.images_prepared = (done, count)

    def _group(self, recipe: Recipe) -> _SlotGroup:
        group = group_of(recipe)
        if group not in self._groups:
            model, quantization = recipe.model, recipe.quantization
            base = self.device_memory.attempt(lambda: load_base(model, quantization, self._device))
            base = traits.proven(base, model.shared)
            self.scoring.keep(recipe, lambda own: fitting(base, own, recipe.data))
            self._groups[group] = _SlotGroup(
                sequential=SequentialTrainer(base, self.device_memory),
                store=Store.of(base, self._features, self._beside),
                bases={model: base},
            )
        return self._groups[group]

    def _base(self, recipe: Recipe) -> Base:
        """Return the base of the recipe's group with the processor of the recipe's resolution."""
        group, model = self._group(recipe), recipe.model
        if model not in group.bases:
            group.bases[model] = at_resolution(group.base, model, loaded=next(iter(group.bases)))
        return group.bases[model]

    def _make_room(self) -> bool:
        """Take off the device what is only kept to save time: bases without slots, and features.

        Returns whether there was anything.
        """
        idle = [name for name, group in self._groups.items() if not group.occupied]
        for name in idle:
            del self._groups[name]
            self.device_memory.forget(name)
        stores = (group.store for group in self._groups.values())
        moved = [store.leave_device() for store in stores if store]
        errors.release()
        return bool(idle) or any(moved)


def _prompts(recipe: Recipe) -> PromptBuilder:
    return PromptBuilder(task=recipe.task, prompt=recipe.prompt)


def _score_key(recipe: Recipe) -> ScoreKey:
    return recipe.model, recipe.data, recipe.evaluate, _prompts(recipe)
