"""A pack that does not fit goes on in smaller steps, and loses nothing."""

import pytest
import torch

from workers.memory import errors as memory
from workers.memory import limits
from workers.memory.device import DeviceMemory
from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.recipe import Model

POINTS = {
    "one": {"train.batch_size": 4, "adapter.dropout": 0.1},
    "two": {"train.batch_size": 3, "adapter.rank": 20},
    "three": {"train.batch_size": 2, "train.accumulate": 2, "train.seed": 1},
}

MOST_ROWS = 4


@pytest.fixture(scope="module")
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("git"))), "none", torch.device("cpu"))


@pytest.fixture
def recipes(checkpoints, make_recipe):
    return {
        name: make_recipe(checkpoints("git"), **{"train.epochs": 1, **point})
        for name, point in POINTS.items()
    }


@pytest.fixture
def train(base, recipes, examples_of):
    """Return a function: condition -> pack, losses and errors of all by name.

    Memory runs out for real where the condition holds for the names of the slots and their rows,
    after the backward pass: then gradients are there already.
    """

    def run(too_much, device_memory=None):
        pack = Pack(base, device_memory=device_memory)
        examples = examples_of(base, recipes["one"])
        forward = pack._losses

        def limited(epochs, taken, size):
            losses = forward(epochs, taken, size)
            if too_much({epoch.slot.name for epoch in epochs}, size):
                torch.empty(2**55)
            return losses

        pack._losses = limited
        losses, errors = {name: [] for name in recipes}, {}
        for name, recipe in recipes.items():
            pack.admit(name, recipe)
            pack.begin(name, examples)
        while pack.busy:
            for end in pack.step():
                name = end.slot.name
                if end.error:
                    errors[name] = end.error
                    continue
                losses[name].append(end.loss)
                if end.slot.rung < recipes[name].train.epochs:
                    pack.begin(name, examples)
        return pack, losses, errors

    return run


@pytest.fixture
def undisturbed(train):
    _, losses, errors = train(lambda names, size: False)
    assert errors == {}
    return {name: pytest.approx(own, abs=1e-4) for name, own in losses.items()}


@pytest.mark.parametrize(("most", "slots"), [(8, 3), (3, 3), (2, 2), (1, 1)])
def test_a_pack_that_does_not_fit_learns_the_same_in_smaller_steps(train, undisturbed, most, slots):
    pack, losses, errors = train(lambda names, size: len(names) * size > most)
    assert (losses, errors) == (undisturbed, {})
    assert (pack.limits.rows or MOST_ROWS) * slots <= most
    assert (pack.limits.trials or len(POINTS)) == slots


def test_what_never_fits_ends_with_that_error_and_the_others_go_on(train, undisturbed):
    room = DeviceMemory()
    pack, losses, errors = train(lambda names, size: "two" in names, room)
    assert losses == {**undisturbed, "two": []}
    assert errors.keys() == {"two"}
    assert memory.is_out_of_memory(errors["two"])
    assert (pack.limits.rows, pack.limits.trials) == (1, 1)
    room.close("two")
    assert (pack.limits.rows, pack.limits.trials) == (None, None)


def test_what_is_only_kept_to_save_time_leaves_before_anything_becomes_smaller(train, undisturbed):
    crowd, tries = ["a base", "features"], []

    def make_room():
        tries.append(tuple(crowd))
        crowd.clear()
        return bool(tries[-1])

    room = DeviceMemory(make_room=make_room)
    pack, losses, errors = train(lambda names, size: bool(crowd), room)
    assert (losses, errors, tries) == (undisturbed, {}, [("a base", "features")])
    assert (pack.limits.rows, pack.limits.trials) == (None, None)


def test_a_pack_grows_again_while_all_trials_stay(train, undisturbed, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 2)
    sizes = []

    def full_at_first(names, size):
        sizes.append(size)
        return len(sizes) < 3

    _, losses, errors = train(full_at_first)
    assert (losses, errors) == (undisturbed, {})
    assert (sizes[:3], max(sizes[3:])) == ([MOST_ROWS, 2, 1], MOST_ROWS)


def test_a_pack_begins_with_the_rows_that_are_expected_to_fit(train, undisturbed):
    class Two(DeviceMemory):
        def rows(self, names, wanted):
            return min(wanted, 2)

    pack, losses, errors = train(lambda names, size: size > 2, Two())
    assert (losses, errors) == (undisturbed, {})
    assert (pack.limits.rows, pack.limits.trials) == (None, None)  # memory never ran out
