"""Trials on kept features beside trials on pixels: `python -m benchmarks.features --help`.

Both arms train the same adapter of the same base in one process, an epoch of the one after an epoch
of the other, and then write captions for other images. Pixels are decoded once and kept, as they
were before there were features.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Annotated

import torch
import typer

from benchmarks.tables import print_table
from benchmarks.usage import Usage, measured
from workers import data
from workers.evaluation.generation import texts
from workers.families.base import Base
from workers.features.store import Store
from workers.models import builtin
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Adapter, Data, Model, Train
from workers.tiny import checkpoints
from workers.training.loop import Examples, mean_loss, train_epoch
from workers.training.optimizer import AdapterOptimizer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
TRAIN = Train(batch_size=16, learning_rate=1e-3, epochs=100)
PARTS = ("training", "val/loss", "captions")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to read images, with an adapter and an optimizer of its own."""

    name: str
    adapted: AdaptedBase
    train: Examples
    validation: Examples
    optimizer: AdapterOptimizer
    losses: list[float] = field(default_factory=list)

    def rung(self, epoch: int) -> dict[str, Usage]:
        """Train and score for one epoch; return the use of each part."""
        self.adapted.activate(self.name)
        base, model, used = self.adapted.base, self.adapted.model, dict[str, Usage]()
        with measured() as used["training"], torch.random.fork_rng():
            torch.manual_seed(epoch)
            steps = train_epoch(base, model, self.optimizer, self.train, TRAIN, epoch)
            loss = mean(loss.item() for loss in steps)
        with measured() as used["val/loss"]:
            self.losses.extend((loss, mean_loss(base, model, self.validation, 16)))
        with measured() as used["captions"]:
            held_out = self.validation
            list(texts(base, model, held_out.pixels, held_out.prompts,
                       beams=1, batch_size=16, max_new_tokens=8))  # fmt: skip
        return used


@app.command()
def main(
    base: Annotated[str, typer.Argument(help="As model.base, or a variant of a tiny checkpoint.")],
    images: Annotated[int, typer.Option(help="Drawn images, four fifths to train on.")] = 320,
    epochs: Annotated[int, typer.Option(help="Of each arm.")] = 5,
    threads: int = 1,
) -> None:
    """Compare the wall and CPU time of an epoch."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_base(Model(base=_source(base, Path(folder))), "none", torch.device("cpu"))
    arms = _arms(loaded, images)
    rounds = [{arm.name: arm.rung(epoch) for arm in arms} for epoch in range(epochs)]
    print_table(
        ["epoch", "part", "wall s", "pixels", "ratio", "CPU s", "pixels", "ratio"],
        [_row(epoch + 1, part, used) for epoch, used in enumerate(rounds) for part in PARTS],
    )
    far = max(abs(a - b) for a, b in zip(arms[0].losses, arms[1].losses, strict=True))
    print(f"largest difference of a loss: {far:.1e}")


def _source(base: str, folder: Path) -> str:
    if base in builtin.BASES or base not in checkpoints.VARIANTS:
        return base
    checkpoints.build(base, folder / base)
    return str(folder / base)


def _arms(base: Base, images: int) -> list[Arm]:
    store, adapted = Store.of(base), AdaptedBase(base)
    splits = data.load(Data(source="shapes", limit=images)).splits
    arms = []
    for name, kept in (("pixels", None), ("features", store)):
        adapted.attach(name, Adapter(rank=8, dropout=0.0), seed=1)
        train, validation = (
            Examples.of(base, splits[split], None, kept) for split in ("train", "validation")
        )
        optimizer = AdapterOptimizer(adapted.named_parameters(name), TRAIN)
        arms.append(Arm(name=name, adapted=adapted, train=train, validation=validation,
                        optimizer=optimizer))  # fmt: skip
    return arms


def _row(epoch: int, part: str, used: Mapping[str, Mapping[str, Usage]]) -> list[str]:
    cells = [str(epoch), part]
    for kind in ("wall", "cpu"):
        own, other = (getattr(used[arm][part], kind) for arm in ("features", "pixels"))
        cells += [f"{own:.2f}", f"{other:.2f}", f"{other / own:.2f}"]
    return cells


if __name__ == "__main__":
    app()
