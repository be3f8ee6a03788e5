"""A slot goes on from its snapshot, in a pack or alone, as if nothing had been."""

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.pack import Pack
from workers.recipe import Model
from workers.slots.sequential import SequentialTrainer

NAME = "trial"


@pytest.fixture(scope="module")
def base(checkpoints):
    return load_base(Model(base=str(checkpoints("git"))), "none", torch.device("cpu"))


@pytest.fixture
def recipe(checkpoints, make_recipe):
    return make_recipe(
        checkpoints("git"),
        **{"train.epochs": 4, "train.batch_size": 2, "train.decay": "cosine", "adapter.rank": 3},
    )


@pytest.fixture
def rung(base, recipe, examples_of):
    """Return a function: trainer -> loss of the next epoch of its slot."""
    examples = examples_of(base, recipe)

    def train(trainer):
        trainer.begin(NAME, examples)
        while True:
            for done in trainer.step():
                assert done.error is None
                return done.loss

    return train


def weights(slot):
    return [matrix.detach().clone() for matrix in slot.weights()]


def test_a_pack_of_one_goes_on_bit_identically(base, recipe, rung, tmp_path):
    recipe = recipe.with_point({"adapter.dropout": 0.1})
    straight, stopped, resumed = Pack(base), Pack(base), Pack(base)
    slot = straight.admit(NAME, recipe)
    losses = [rung(straight) for _ in range(3)]
    first = stopped.admit(NAME, recipe)
    first.unhealthy_rungs = 1
    assert rung(stopped) == losses[0]
    first.snapshot(tmp_path)
    again = resumed.admit(NAME, recipe)
    again.restore(tmp_path)
    assert (again.rung, again.unhealthy_rungs) == (1, 1)
    assert [rung(resumed) for _ in range(2)] == losses[1:]
    for own, other in zip(weights(slot), weights(again), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize(("first", "then"), [(SequentialTrainer, Pack), (Pack, SequentialTrainer)])
def test_the_two_kinds_of_trainer_go_on_from_each_other_s_snapshots(
    base, recipe, rung, tmp_path, first, then
):
    straight = first(base)
    straight.admit(NAME, recipe)
    losses = [rung(straight) for _ in range(4)]
    straight.evict(NAME)
    stopped = first(base)
    slot = stopped.admit(NAME, recipe)
    for _ in range(2):
        rung(stopped)
    slot.snapshot(tmp_path)
    stopped.evict(NAME)
    resumed = then(base)
    resumed.admit(NAME, recipe).restore(tmp_path)
    assert [rung(resumed) for _ in range(2)] == pytest.approx(losses[2:], abs=1e-4)
    resumed.evict(NAME)


def test_moments_are_part_of_a_snapshot(base, recipe, rung, tmp_path):
    """A slot that begins with the adapter alone goes another way."""
    trained, started = Pack(base), Pack(base)
    slot = trained.admit(NAME, recipe)
    rung(trained)
    slot.snapshot(tmp_path)
    rung(trained)
    started.admit(NAME, recipe).load_adapter(tmp_path, 1)
    rung(started)
    assert rung(started) != pytest.approx(rung(trained), abs=1e-4)


def test_a_snapshot_of_a_new_slot_is_restored(base, recipe, rung, tmp_path):
    new, again = Pack(base), Pack(base)
    new.admit(NAME, recipe).snapshot(tmp_path)
    again.admit(NAME, recipe).restore(tmp_path)
    assert rung(again) == rung(new)


def test_an_incomplete_snapshot_is_refused(base, recipe, tmp_path):
    Pack(base).admit(NAME, recipe).snapshot(tmp_path)
    (tmp_path / "state.json").unlink()
    with pytest.raises(FileNotFoundError, match="no complete snapshot"):
        Pack(base).admit(NAME, recipe).restore(tmp_path)
