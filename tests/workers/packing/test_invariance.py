"""What a trial learns does not depend on what else is in its pack, with dropout on."""

import dataclasses
import math

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.recipe import Model
from workers.training.loop import NonFiniteLossError

TRACKED = {
    "adapter.dropout": 0.1, "adapter.rank": 5, "train.seed": 3, "train.batch_size": 3,
    "train.epochs": 3, "train.learning_rate": 1e-2,
}  # fmt: skip
NEIGHBOURS = [
    {"adapter.rank": 20, "train.batch_size": 2, "adapter.dropout": 0.5},
    {"adapter.rank": 2, "train.batch_size": 7, "train.seed": 3},
    {"adapter.targets": "text", "train.batch_size": 1, "adapter.dropout": 0.1},
    {"adapter.rank": 16, "train.accumulate": 2, "train.label_smoothing": 0.2},
    {"adapter.rank": 5, "train.learning_rate": 1e-1, "adapter.dropout": 0.1},
    {"adapter.rank": 70, "train.batch_size": 4},
    {"adapter.variant": "rslora", "train.batch_size": 12, "train.weight_decay": 0.1},
]
MIDWAY = 5
"""A micro-step in the middle of the second epoch of the tracked trial."""


@pytest.fixture(scope="module")
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("git"))), "none", torch.device("cpu"))


@pytest.fixture
def recipes(checkpoints, make_recipe):
    """Return the tracked trial's recipe and those of its neighbours, by name."""
    folder = checkpoints("git")
    others = {f"neighbour-{n}": make_recipe(folder, **p) for n, p in enumerate(NEIGHBOURS)}
    return {"tracked": make_recipe(folder, **TRACKED), **others}


@pytest.fixture
def examples(base, recipes, examples_of):
    return examples_of(base, recipes["tracked"])


@pytest.fixture
def train(base, recipes, examples):
    """Return a function that trains slots in this order until the tracked one is done.

    It returns the tracked losses per epoch and the errors of the others. `meddle` is called with
    the pack before each micro-step; `data` are examples that some neighbours have of their own.
    """

    def run(*names, meddle=lambda pack, step: None, data=None):
        data, losses, errors, step = data or {}, [], {}, 0
        pack = Pack(base)
        for name in names:
            pack.admit(name, recipes[name])
            pack.begin(name, data.get(name, examples))
        while len(losses) < TRACKED["train.epochs"]:
            meddle(pack, step)
            for end in pack.step():
                name = end.slot.name
                if end.error:
                    errors[name] = end.error
                    continue
                if name == "tracked":
                    losses.append(end.loss)
                pack.begin(name, data.get(name, examples))
            step += 1
        return losses, errors

    return run


@pytest.fixture
def alone(train):
    """Losses of the tracked trial in a pack of its own."""
    losses, errors = train("tracked")
    assert errors == {}
    return pytest.approx(losses, abs=1e-4)


@pytest.mark.parametrize("targets", ["text_all", "re:output"], ids=["text", "head"])
def test_dropout_changes_what_is_learned_in_every_layer(train, recipes, targets):
    losses = []
    for dropout in (0.0, 0.1):
        point = {"adapter.dropout": dropout, "adapter.targets": targets}
        recipes["tracked"] = recipes["tracked"].with_point(point)
        losses.append(train("tracked")[0])
    assert losses[0] != pytest.approx(losses[1], abs=1e-4)


def test_an_adapted_head_beside_others_trains_as_alone(train, recipes):
    head = {"adapter.targets": "text_all_head"}
    recipes["tracked"] = recipes["tracked"].with_point(head)
    recipes["neighbour-1"] = recipes["neighbour-1"].with_point(head)
    alone, _ = train("tracked")
    others = ["neighbour-0", "neighbour-1", "neighbour-6"]
    assert train(*others, "tracked") == (pytest.approx(alone, abs=1e-4), {})


@pytest.mark.parametrize("neighbours", [[0], [4], range(7)], ids=["two", "alike", "eight"])
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_neighbours_and_their_order_change_nothing(train, alone, neighbours, last):
    others = [f"neighbour-{number}" for number in neighbours]
    names = [*others, "tracked"] if last else ["tracked", *others]
    assert train(*names) == (alone, {})


def test_who_is_admitted_late_trains_as_alone(train, alone, recipes, examples):
    def meddle(pack, step):
        if step == MIDWAY:
            pack.admit("tracked", recipes["tracked"])
            pack.begin("tracked", examples)

    assert train("neighbour-0", "neighbour-4", meddle=meddle) == (alone, {})


def test_neighbours_that_are_evicted_midway_change_nothing(train, alone):
    def meddle(pack, step):
        if step == MIDWAY:
            pack.evict("neighbour-4")
        if step == MIDWAY + 1:
            pack.evict("neighbour-0")

    assert train("neighbour-0", "neighbour-4", "tracked", "neighbour-1", meddle=meddle) == (
        alone,
        {},
    )


@pytest.mark.parametrize(
    "name", ["neighbour-4", "neighbour-0"], ids=["another rank", "a larger rank"]
)
def test_a_neighbour_that_turns_nan_fails_by_itself(train, alone, name):
    def meddle(pack, step):
        if step == MIDWAY:
            pack._slots[name].arena.row("values", name).fill_(math.nan)

    losses, errors = train(name, "tracked", "neighbour-1", meddle=meddle)
    assert losses == alone
    assert errors.keys() == {name}
    assert isinstance(errors[name], NonFiniteLossError)


def test_a_neighbour_whose_images_cannot_be_read_fails_by_itself(train, alone, examples):
    class Gone:
        """Images whose disk goes away."""

        reads = queued = 0

        def ready(self, indices):
            return True

        def expect(self, indices):
            pass

        def of(self, indices):
            self.reads += 1
            if self.reads > MIDWAY:
                raise OSError("the disk is gone")
            return examples.pixels.of(indices)

    data = {"neighbour-4": dataclasses.replace(examples, pixels=Gone(), _rows={})}
    losses, errors = train("neighbour-4", "tracked", "neighbour-1", data=data)
    assert losses == alone
    assert errors.keys() == {"neighbour-4"}
    assert str(errors["neighbour-4"]) == "the disk is gone"
