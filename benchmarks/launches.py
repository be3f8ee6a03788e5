"""Launches, waits and blocking copies of a pack on a GPU, counted on a CPU, for real depths.

    python -m benchmarks.launches --model git
    python -m benchmarks.launches --model qwen2.5-vl --slots 1,8,16 --json
    python -m benchmarks.launches --model blip2 --generate

A model has as many layers as the published one, in tiny widths and with random weights: how often
something is launched depends on neither. The slots have ranks 8, 16, 64 and 128 in turn. Counted is
one training step in which every slot takes an optimizer step, on kept features; with ``--generate``
one token of greedy captions of all slots. See `benchmarks.pretend_gpu` for what counts as what.
"""

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

from benchmarks.pretend_gpu import PretendGpu
from benchmarks.tables import print_table
from workers import traits
from workers.data.sample import Sample
from workers.evaluation.evaluator import Evaluator
from workers.families.base import Base
from workers.features.store import Store
from workers.metrics.scorer import Scorer
from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.recipe import Evaluate, Model, Recipe
from workers.slots.protocol import Trainer
from workers.tiny import architectures
from workers.training.loop import Examples

RANKS = (8, 16, 64, 128)
IMAGES, WORDS = 64, 6
WARM_UP = 3
"""Steps before the one that is counted: they lay out memory and masks."""
_Q_FORMER = {"num_hidden_layers": 12, "cross_attention_frequency": 2}
DEPTHS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "git": ("git", {"num_hidden_layers": 6, "vision_config": {"num_hidden_layers": 12}}),
    "blip2": (
        "blip2-opt",
        {
            "text_config": {"num_hidden_layers": 32},
            "qformer_config": _Q_FORMER,
            "vision_config": {"num_hidden_layers": 39},
        },
    ),
    "blip2-t5": (
        "blip2-t5",
        {
            "text_config": {"num_layers": 24, "num_decoder_layers": 24},
            "qformer_config": _Q_FORMER,
            "vision_config": {"num_hidden_layers": 39},
        },
    ),
    "qwen2.5-vl": (
        "qwen2_5_vl",
        {
            "text_config": {"num_hidden_layers": 36, "layer_types": None},
            "vision_config": {"depth": 32, "fullatt_block_indexes": [7, 15, 23, 31]},
        },
    ),
    "paligemma": (
        "paligemma",
        {
            "text_config": {"num_hidden_layers": 18, "layer_types": None},
            "vision_config": {"num_hidden_layers": 27},
        },
    ),
    "smolvlm": (
        "smolvlm",
        {"text_config": {"num_hidden_layers": 32}, "vision_config": {"num_hidden_layers": 12}},
    ),
}
"""Name -> architecture of `workers.tiny.architectures`, and what of its config the published model
has: git-base, BLIP-2 with OPT-2.7b and Flan-T5-XL, Qwen2.5-VL-3B, PaliGemma-3B, SmolVLM2-500M."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What one step, or one token, of a pack costs the host."""

    slots: int
    launches: int
    syncs: int
    """Waits of the host for the device."""
    copies: int
    """Blocking copies from the host to the device."""


def build(name: str, most_layers: int | None = None, dtype: torch.dtype = torch.bfloat16) -> Base:
    """Return a frozen base of `DEPTHS` on the CPU, with at most so many layers.

    It never writes the token that ends a text, so that all captions have all tokens.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    variant, depths = DEPTHS[name]
    with TemporaryDirectory() as folder:
        architectures.build(variant, Path(folder))
        tiny = load_base(Model(base=folder), "none", torch.device("cpu"))
        saved = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    config = AutoConfig.for_model(**_deeper(saved, depths, most_layers))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(
            config, dtype=dtype, trust_remote_code=False
        )
    model.generation_config = tiny.model.generation_config
    with torch.no_grad():
        model.get_output_embeddings().weight[model.generation_config.eos_token_id] = 0.0
    model.eval().requires_grad_(False)
    family = tiny.family if tiny.family.traits is None else tiny.family.having(traits.see(tiny))
    return replace(tiny, model=model, family=family)


def _deeper(
    config: Mapping[str, Any], depths: Mapping[str, Any], most_layers: int | None
) -> dict[str, Any]:
    """Return a config with the numbers of layers in `depths`, at every level."""
    changed = {}
    for key, value in depths.items():
        if isinstance(value, Mapping):
            changed[key] = _deeper(config[key], value, most_layers)
        else:
            limited = isinstance(value, int) and most_layers
            changed[key] = min(value, most_layers) if limited else value
    return {**config, **changed}


class CountedPack:
    """A pack of some slots of a base, on a pretended GPU, with features where they are kept.

    The base moves there for good. `trainer` may be `SequentialTrainer`, of trials that train alone.
    `fields` are dotted fields of all recipes, or where they are a tuple one value for each slot in
    turn.
    """

    def __init__(
        self, base: Base, slots: int, trainer: Callable[[Base], Trainer] = Pack, **fields: Any
    ) -> None:
        self.gpu = PretendGpu()
        """Holds the waits and copies that were counted last, by their lines."""
        self._names = [f"trial-{slot}" for slot in range(slots)]
        with self.gpu:
            base.model.to(self.gpu.device)
            self.base = replace(base, device=self.gpu.device)
            self._store = Store.of(self.base)
            self._trainer = trainer(self.base)
            for slot, name in enumerate(self._names):
                self._trainer.admit(name, _recipe(slot, fields))

    def training_step(self) -> Counts:
        """Count one step in which each slot takes an optimizer step."""
        with self.gpu:
            examples = Examples.of(self.base, _samples(IMAGES), None, self._store)
            examples.pixels.of(range(IMAGES))
            for name in self._names:
                self._trainer.begin(name, examples)
            for _ in range(WARM_UP):
                self._trainer.step()
            self.gpu.forget()
            self._trainer.step()
        return self._counts()

    def token(self, first: int = 4, last: int = 8) -> Counts:
        """Return the mean cost of the tokens after `first` up to `last`, of all slots at once."""
        few, many = self._captions(first), self._captions(last)
        tokens = last - first
        return Counts(
            slots=len(self._names),
            launches=(many.launches - few.launches) // tokens,
            syncs=(many.syncs - few.syncs) // tokens,
            copies=(many.copies - few.copies) // tokens,
        )

    def _captions(self, tokens: int) -> Counts:
        evaluate, samples = Evaluate(max_new_tokens=tokens), _samples(2)
        scorer = Scorer(["exact_match"], {own.id: own.captions for own in samples})
        with self.gpu:
            evaluator = Evaluator(self.base, samples, scorer, evaluate, None, self._store)
            evaluator.predict(self.base.model, 1)  # computes the features
            self.gpu.forget()
            self._trainer.predict(self._names, evaluator, 1)
        return self._counts()

    def _counts(self) -> Counts:
        return Counts(
            slots=len(self._names),
            launches=self.gpu.launches.total(),
            syncs=self.gpu.waits.total(),
            copies=self.gpu.copies.total(),
        )


def _recipe(slot: int, fields: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a slot; no two neighbours have the same rank."""
    rank = RANKS[slot % len(RANKS)]
    recipe = Recipe.model_validate(
        {
            "model": {"base": "in memory"},
            "data": {"source": "shapes"},
            "train": {"batch_size": 2, "learning_rate": 1e-4 * (1 + slot), "seed": slot},
            "adapter": {"rank": rank, "alpha": 2.0 * rank},
        }
    )
    own = {k: v[slot % len(v)] if isinstance(v, tuple) else v for k, v in fields.items()}
    return recipe.with_point(own)


def _samples(count: int) -> list[Sample]:
    """Return images of noise with captions of random words, always the same ones."""
    chance = random.Random(0)
    made = []
    for number in range(count):
        noise = Image.frombytes("RGB", (32, 32), chance.randbytes(3 * 32 * 32))
        words = ["".join(chance.choices("abcdef", k=4)) for _ in range(WORDS)]
        made.append(Sample(id=str(number), open=noise.copy, captions=(" ".join(words),)))
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.launches", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", choices=DEPTHS, default="git")
    parser.add_argument("--slots", type=_numbers, default=[1, 8, 16], help="such as 1,8,16")
    parser.add_argument("--generate", action="store_true", help="a token instead of a step")
    parser.add_argument("--json", action="store_true", help="one line for programs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    counts = []
    for slots in options.slots:
        pack = CountedPack(build(options.model), slots)
        counts.append(pack.token() if options.generate else pack.training_step())
    if options.json:
        print(json.dumps([asdict(each) for each in counts]))
    else:
        _print(counts, "token" if options.generate else "step", pack.gpu)


def _print(counts: Sequence[Counts], unit: str, last: PretendGpu) -> None:
    """Print a table, and where the last of them waits."""
    first = counts[0]
    print_table(
        ["slots", f"launches/{unit}", f"of {first.slots} slots", "waits", "blocking copies"],
        [
            [str(own.slots), str(own.launches), f"{own.launches / first.launches:.2f}",
             str(own.syncs), str(own.copies)]
            for own in counts
        ],
    )  # fmt: skip
    for title, lines in (("waits", last.waits), ("blocking copies", last.copies)):
        print(f"\n{title} of {counts[-1].slots} slots:")
        for line, count in lines.most_common():
            print(f"  {count:4} {line}")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
