"""What the parts measure with: recipes, bases, examples, packs and hosts."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from benchmarks.gpu.setting import Setting
from workers.data.sample import Sample
from workers.families.base import Base
from workers.features.store import Store
from workers.host.host import Host
from workers.memory.fit import Device
from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.recipe import Recipe
from workers.report import Done
from workers.training.loop import Examples

RANKS = (8, 16, 64, 128)
"""Of a pack of mixed ranks, over and over."""


def small_recipe(setting: Setting, **point: object) -> Recipe:
    """Return a recipe of the small model with some dotted fields replaced, ``__`` for a dot."""
    plain = Recipe.model_validate(
        {
            "model": {"base": str(setting.checkpoint), "dtype": "bfloat16"},
            "data": {"source": "shapes", "limit": setting.size(220, 40)},
            "train": {"epochs": 1_000_000, "batch_size": 8, "warmup": 0.0, "decay": "constant"},
            "adapter": {"rank": 16, "alpha": 16.0, "dropout": 0.05},
            "evaluate": {"metrics": ["exact_match"], "max_new_tokens": setting.size(20, 6)},
            "guard": {"stop": False},
        }
    )
    return plain.with_point({name.replace("__", "."): value for name, value in point.items()})


def recipes(setting: Setting, slots: int, ranks: Sequence[int], **point: Any) -> dict[str, Recipe]:
    """Return name -> recipe of so many trials, which differ in their seeds and ranks."""
    return {
        f"trial-{number}": small_recipe(
            setting, train__seed=number, adapter__rank=ranks[number % len(ranks)], **point
        )
        for number in range(slots)
    }


def load(setting: Setting, recipe: Recipe) -> Base:
    """Return the base of a recipe on the device."""
    return load_base(recipe.model, recipe.quantization, torch.device(setting.device))


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


def filled_pack(base: Base, own: Mapping[str, Recipe], data: Examples) -> Pack:
    """Return a pack of these trials, which have all begun an epoch."""
    pack = Pack(base)
    for name, each in own.items():
        pack.admit(name, each)
        pack.begin(name, data)
    return pack


def host(setting: Setting) -> Host:
    """Return a host that has the whole device."""
    gpu = not setting.rehearsal
    size = torch.cuda.get_device_properties(0).total_memory if gpu else 8e9
    return Host(setting.device, share=Device(gpu=gpu, bytes=size))


def one_rung(host: Host, names: Iterable[str]) -> dict[str, Done]:
    """Train trials that the host has admitted for a rung; return what came of each."""
    for name in names:
        host.begin(name)
    done: dict[str, Done] = {}
    while host.busy:
        done |= {each.name: each for each in host.step()}
    return done
