"""Rows of weights: padding stays zero, and whose row it is does not matter."""

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.arena import AdaptedLayer, Arena, PackLayout, rank_class
from workers.packing.pack import Pack

CPU = torch.device("cpu")
LAYOUT = PackLayout((AdaptedLayer("one", 3, 2), AdaptedLayer("deep.two", 2, 4)), rank=16)


def matrices(seed, rank):
    generator = torch.Generator().manual_seed(seed)
    return {
        layer.path: (
            torch.randn(rank, layer.inputs, generator=generator),
            torch.randn(layer.outputs, rank, generator=generator),
        )
        for layer in LAYOUT.layers
    }


@pytest.mark.parametrize(
    ("rank", "padded"), [(1, 16), (16, 16), (17, 64), (256, 256), (257, 512), (600, 768)]
)
def test_ranks_are_padded_to_few_classes(rank, padded):
    assert rank_class(rank) == padded


@pytest.mark.parametrize("rank", [1, 5, 16])
def test_a_row_gives_back_what_was_put_in_and_zeros_around_it(rank):
    own = matrices(0, rank)
    row = torch.full((LAYOUT.width,), 7.0)  # of whoever had it before
    LAYOUT.packed(own, row)
    for path, pair in LAYOUT.unpacked(row, rank).items():
        assert all(torch.equal(found, put) for found, put in zip(pair, own[path], strict=True))
    put_in = sum(matrix.numel() for pair in own.values() for matrix in pair)
    assert int((row != 0).sum()) == put_in


class Trial:
    """A slot whose gradient is its number, so that its weights tell whose steps were taken."""

    def __init__(self, arena, number, rank=3):
        self.number = number
        self.parameter = arena.add(f"slot-{number}", matrices(number, rank))
        self.optimizer = torch.optim.AdamW([self.parameter], lr=0.1, fused=True)
        self.twin = torch.nn.Parameter(self.parameter.detach().clone())
        self.twin_optimizer = torch.optim.AdamW([self.twin], lr=0.1, fused=True)

    def step(self):
        self.parameter.grad += self.number
        self.twin.grad = torch.full_like(self.twin, float(self.number))
        self.optimizer.step()
        self.twin_optimizer.step()
        self.parameter.grad.zero_()

    def is_its_twin(self):
        return torch.equal(self.parameter, self.twin)


def test_rows_that_change_places_take_weights_gradients_and_optimizers_along():
    arena = Arena(LAYOUT, CPU)
    trials = {f"slot-{number}": Trial(arena, number) for number in range(1, 5)}
    orders = [("slot-3",), ("slot-4", "slot-2"), ("slot-1", "slot-4", "slot-3", "slot-2")]
    for order in orders:
        for trial in trials.values():
            trial.step()
        trials["slot-2"].parameter.grad += 5.0  # in the middle of accumulating
        leaves = arena.leaves(order)
        for place, name in enumerate(order):
            own = arena.layout.matrices(trials[name].parameter.data[None])
            for path, pair in leaves.items():
                for leaf, matrix in zip(pair, own[path], strict=True):
                    assert torch.equal(leaf[place], matrix[0])
        assert bool((trials["slot-2"].parameter.grad == 5.0).all())
        trials["slot-2"].parameter.grad -= 5.0
        assert all(trial.is_its_twin() for trial in trials.values())


def test_gradients_of_the_leaves_are_added_to_those_of_the_slots():
    arena = Arena(LAYOUT, CPU)
    trials = {f"slot-{number}": Trial(arena, number) for number in range(1, 4)}
    leaves = arena.leaves(("slot-3", "slot-1"))
    for _ in range(2):
        sum((a[0].sum() * 2 + b[1].sum()) for a, b in leaves.values()).backward()
    third, first = (LAYOUT.matrices(trials[n].parameter.grad[None]) for n in ("slot-3", "slot-1"))
    for path in leaves:
        assert {float(third[path][0].min()), float(third[path][0].max())} == {4.0}
        assert {float(first[path][1].min()), float(first[path][1].max())} == {2.0}
    assert float(trials["slot-2"].parameter.grad.abs().max()) == 0.0


def test_the_others_keep_their_rows_when_the_middle_one_leaves_and_another_comes():
    arena = Arena(LAYOUT, CPU)
    trials = {number: Trial(arena, number) for number in (1, 2, 3)}
    for trial in trials.values():
        trial.step()
    trials[2].parameter.grad += 9.0
    arena.remove("slot-2")
    del trials[2]
    assert set(arena.names) == {"slot-1", "slot-3"}
    trials[4] = Trial(arena, 4, rank=2)
    assert float(trials[4].parameter.grad.abs().max()) == 0.0
    assert int((trials[4].parameter != 0).sum()) == 2 * LAYOUT.width // 16
    for trial in trials.values():
        trial.step()
        assert trial.is_its_twin()


def test_padding_has_no_gradient_while_others_of_the_class_train(
    checkpoints, make_recipe, examples_of
):
    """Over 20 steps with ranks 3 and 16 in one arena: in weights and both moments, too."""
    folder, fields = checkpoints("git"), {"train.batch_size": 3, "train.epochs": 5}
    recipes = {
        "small": make_recipe(folder, **fields, **{"adapter.rank": 3, "train.weight_decay": 0.1}),
        "large": make_recipe(folder, **fields, **{"adapter.rank": 16}),
    }
    base = load_base(recipes["small"].model, "none", CPU)
    pack, examples = Pack(base), examples_of(base, recipes["small"])
    slot, _ = [pack.admit(name, recipe) for name, recipe in recipes.items()]
    ones = {path: tuple(map(torch.ones_like, pair)) for path, pair in slot.fresh.matrices.items()}
    own = torch.zeros_like(slot.parameter.data)
    slot.arena.layout.packed(ones, own)
    padding, forward, steps = own == 0, pack._losses, []

    def checked(*args):
        losses = forward(*args)
        steps.append(float(slot.parameter.grad[~padding].abs().max()))
        assert bool((slot.parameter.grad[padding] == 0).all())
        return losses

    pack._losses = checked
    while slot.rung < 5:
        for name in recipes:
            pack.begin(name, examples)
        while pack.busy:
            pack.step()
    assert len(steps) == 20
    assert min(steps) > 0
    state = slot.optimizer.state[slot.parameter]
    for values in (slot.parameter.data, state["exp_avg"], state["exp_avg_sq"]):
        assert bool((values[padding] == 0).all())
