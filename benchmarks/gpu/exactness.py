"""(b) A trial in a pack of mixed ranks does what it does alone, and a NaN stays with its trial."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.trials import RANKS, examples, load, recipes, samples
from workers.models.adapters import read_weights
from workers.packing.pack import Pack
from workers.recipe import Recipe
from workers.slots.protocol import Trainer
from workers.slots.sequential import SequentialTrainer
from workers.training.loop import Examples

STEPS, ROWS = 20, 4
HOPELESS_RATE = 1e30
"""Learning rate of a trial that diverges in its first steps."""


@dataclass(frozen=True)
class Trained:
    """A trial after its epoch."""

    loss: float
    b: torch.Tensor
    """All weights of B, which begins as 0: how far training has led."""
    error: Exception | None


def measure(setting: Setting, results: Results) -> None:
    """Train the same trials alone with peft, in packs of one and in one pack, and compare."""
    steps = setting.size(STEPS, 4)
    some = samples(steps, captions=ROWS)
    for dtype in ("float32", "bfloat16"):
        own = recipes(
            setting,
            4,
            RANKS,
            model__dtype=dtype,
            train__batch_size=ROWS,
            train__epochs=1,
            train__learning_rate=1e-3,
            adapter__dropout=0.0,
        )
        base = load(setting, own["trial-0"])
        data = examples(base, some)
        packed = train(Pack(base), own, data)
        single = {
            name: train(Pack(base), {name: recipe}, data)[name] for name, recipe in own.items()
        }
        reseeded = {
            name: recipe.with_point({"train.seed": recipe.train.seed + 1000})
            for name, recipe in own.items()
        }
        other_seed = train(Pack(base), reseeded, data)
        dropping = {n: r.with_point({"adapter.dropout": 0.1}) for n, r in own.items()}
        first = next(iter(dropping))
        together = train(Pack(base), dropping, data)[first]
        alone_dropping = train(Pack(base), {first: dropping[first]}, data)[first]
        _diverging(results, dtype, base_pack=Pack(base), own=own, data=data, undisturbed=packed)
        alone = train(SequentialTrainer(base), own, data)  # last: it wraps the base's layers
        for name, recipe in own.items():
            results.row(
                f"Mean loss over {steps} steps of {ROWS} examples",
                base=dtype,
                rank=recipe.adapter.rank,
                **{
                    "alone (peft)": f"{alone[name].loss:.6f}",
                    "pack of 4 - alone": packed[name].loss - alone[name].loss,
                    "pack of 4 - pack of 1": packed[name].loss - single[name].loss,
                    "another seed - alone": other_seed[name].loss - alone[name].loss,
                    "B against alone": _distance(packed[name].b, alone[name].b),
                    "B against pack of 1": _distance(packed[name].b, single[name].b),
                },
            )
        results.row(
            "With dropout 0.1, which a pack draws by itself",
            base=dtype,
            **{
                "pack of 1": f"{alone_dropping.loss:.6f}",
                "pack of 4 - pack of 1": together.loss - alone_dropping.loss,
                "B against pack of 1": _distance(together.b, alone_dropping.b),
            },
        )


def train(trainer: Trainer, recipes: Mapping[str, Recipe], data: Examples) -> dict[str, Trained]:
    """Train new trials for an epoch, and remove them."""
    for name, recipe in recipes.items():
        trainer.admit(name, recipe)
    for name in recipes:
        trainer.begin(name, data)
    done = {}
    while trainer.busy:
        for each in trainer.step():
            with tempfile.TemporaryDirectory() as folder:
                each.slot.export(Path(folder))
                saved = read_weights(Path(folder))
            b = torch.cat([saved[key].flatten() for key in sorted(saved) if "lora_B" in key])
            done[each.slot.name] = Trained(each.loss, b, each.error)
    for name in recipes:
        trainer.evict(name)
    return done


def _diverging(
    results: Results,
    dtype: str,
    *,
    base_pack: Pack,
    own: Mapping[str, Recipe],
    data: Examples,
    undisturbed: Mapping[str, Trained],
) -> None:
    """Let one trial of the pack diverge; tell how it ended, and what the others noticed."""
    broken = next(iter(own))
    rate = {"train.learning_rate": HOPELESS_RATE, "train.max_grad_norm": None}
    disturbed = train(base_pack, {**own, broken: own[broken].with_point(rate)}, data)
    others = [name for name in own if name != broken]
    results.row(
        "One of four trials diverges",
        base=dtype,
        **{
            "it ends with": f"{disturbed[broken].error!r}"[:120],
            "largest change of another's loss": max(
                abs(disturbed[name].loss - undisturbed[name].loss) for name in others
            ),
            "and of its B": max(
                _distance(disturbed[name].b, undisturbed[name].b) for name in others
            ),
            "errors of others": sum(disturbed[name].error is not None for name in others),
        },
    )


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the difference of two tensors relative to the second one, by their L2 norms."""
    return float((one - other).norm() / other.norm())
