"""What all parts measure with: checkpoints, recipes, examples, packs and hosts."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from benchmarks.packing import sizes
from workers.data.sample import Sample
from workers.families import get as family_of
from workers.families.base import Base
from workers.features.store import Store
from workers.host.host import Host
from workers.memory.fit import Device
from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.recipe import Recipe
from workers.report import Done
from workers.training.loop import Examples

T = TypeVar("T")

RANKS = (8, 16, 64, 128)
"""Of a pack of mixed ranks, over and over."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a run measures, and with which sizes."""

    rehearsal: bool
    """Tiny shapes on a CPU: the code is tried, and no figure means anything."""
    scratch: Path
    """Folder for checkpoints."""

    @property
    def device(self) -> str:
        """As torch calls it."""
        return "cpu" if self.rehearsal else "cuda:0"

    def size(self, real: T, tiny: T) -> T:
        """Return what fits the run."""
        return tiny if self.rehearsal else real

    @property
    def git(self) -> str:
        """Name of the small model in `benchmarks.packing.sizes`."""
        return self.size("git-base", "tiny-git")

    @property
    def checkpoint(self) -> Path:
        """Folder of the small model, which `prepare` writes."""
        return self.scratch / self.git

    def prepare(self) -> None:
        """Write the small model's checkpoint."""
        sizes.build(self.git, self.checkpoint, self.device)

    def base(self, recipe: Recipe) -> Base:
        """Return the loaded base of a recipe."""
        return load_base(recipe.model, recipe.quantization, torch.device(self.device))

    def random_base(self, name: str) -> Base:
        """Return a base that was never written: for one of several GB, which takes its time."""
        model, processor = sizes.make(name, self.device)
        return Base(
            model=model.eval().requires_grad_(False),
            processor=processor,
            family=family_of(model.config.model_type),
            device=torch.device(self.device),
        )

    def recipe(self, **point: object) -> Recipe:
        """Return a recipe of the small model with some dotted fields replaced, ``__`` for a dot."""
        recipe = Recipe.model_validate(
            {
                "model": {"base": str(self.checkpoint), "dtype": "bfloat16"},
                "data": {"source": "shapes", "limit": self.size(220, 40)},
                "train": {"epochs": 1_000_000, "batch_size": 8, "warmup": 0.0, "decay": "constant"},
                "adapter": {"rank": 16, "alpha": 16.0, "dropout": 0.05},
                "evaluate": {"metrics": ["exact_match"], "max_new_tokens": self.size(20, 6)},
                "guard": {"stop": False},
            }
        )
        return recipe.with_point({name.replace("__", "."): value for name, value in point.items()})


def samples(images: int, captions: int = 1, pixels: int = 256) -> list[Sample]:
    """Return images of noise with captions of random words and differing lengths.

    Always the same ones; `pixels` are the sides of an image.
    """
    chance = random.Random(0)
    made = []
    for number in range(images):
        noise = Image.frombytes("RGB", (pixels, pixels), chance.randbytes(3 * pixels**2))
        texts = tuple(
            " ".join("".join(chance.choices("abcdef", k=4)) for _ in range(3 + (number + one) % 5))
            for one in range(captions)
        )
        made.append(Sample(id=str(number), open=noise.copy, captions=texts))
    return made


def examples(base: Base, of: Sequence[Sample]) -> Examples:
    """Return examples with kept features, all of them made ready."""
    made = Examples.of(base, of, None, Store.of(base))
    made.pixels.of(range(len(of)))
    made.rows(range(len(made.pairs)))
    return made


def filled_pack(base: Base, recipes: Mapping[str, Recipe], data: Examples) -> Pack:
    """Return a pack of these trials, which have all begun an epoch."""
    pack = Pack(base)
    for name, recipe in recipes.items():
        pack.admit(name, recipe)
        pack.begin(name, data)
    return pack


def trials(setting: Setting, slots: int, ranks: Sequence[int], **point: Any) -> dict[str, Recipe]:
    """Return name -> recipe of so many trials, which differ in their seeds and ranks."""
    every = range(slots)
    return {
        f"trial-{number}": setting.recipe(
            train__seed=number, adapter__rank=ranks[number % len(ranks)], **point
        )
        for number in every
    }


def host(setting: Setting) -> Host:
    """Return a host that has the whole device."""
    gpu = not setting.rehearsal
    size = torch.cuda.get_device_properties(0).total_memory if gpu else 8e9
    return Host(setting.device, share=Device(gpu=gpu, bytes=size))


def one_rung(host: Host, recipes: Mapping[str, Recipe]) -> dict[str, Done]:
    """Train trials that the host has admitted for a rung; return what came of each."""
    for name in recipes:
        host.begin(name)
    done: dict[str, Done] = {}
    while host.busy:
        done |= {each.name: each for each in host.step()}
    return done
