"""Rows of weights: padding stays zero, and whose row it is does not matter."""

import pytest
import torch

from workers.models.loading import load_base
from workers.packing.arena import AdaptedLayer, Arena, PackLayout
from workers.packing.pack import Pack

CPU = torch.device("cpu")
ONE, TWO, THREE = AdaptedLayer("one", 3, 2), AdaptedLayer("deep.two", 2, 4), AdaptedLayer("z", 5, 1)


def adapter(rank, *layers):
    return PackLayout(layers or (ONE, TWO), rank)


def matrices(seed, own):
    """Return random matrices of an adapter, path -> A and B."""
    generator = torch.Generator().manual_seed(seed)
    return {
        layer.path: (
            torch.randn(own.rank, layer.inputs, generator=generator),
            torch.randn(layer.outputs, own.rank, generator=generator),
        )
        for layer in own.layers
    }


def equal(found, expected):
    assert found.keys() == expected.keys()
    pairs = [(found[path], expected[path]) for path in found]
    return all(torch.equal(f, e) for own in pairs for f, e in zip(*own, strict=True))


@pytest.mark.parametrize(
    ("adapters", "layers", "rank"),
    [
        ([adapter(3)], (TWO, ONE), 8),
        ([adapter(8, ONE), adapter(9, THREE)], (ONE, THREE), 16),
        ([adapter(64, TWO), adapter(2)], (TWO, ONE), 64),
        ([], (), 0),
    ],
)
def test_a_layout_has_room_for_every_layer_and_the_largest_rank(adapters, layers, rank):
    found = PackLayout.around(adapters)
    assert (found.layers, found.rank) == (layers, rank)
    assert PackLayout.around(adapters[::-1]) == found


@pytest.mark.parametrize("own", [adapter(1), adapter(5, TWO), adapter(16), adapter(12, ONE)])
def test_a_row_gives_back_what_was_put_in_and_zeros_around_it(own):
    layout = PackLayout.around([adapter(16)])
    put = matrices(0, own)
    row = torch.full((layout.width,), 7.0)  # of the slot that had it before
    layout.packed(put, row)
    assert equal(layout.unpacked(row, own), put)
    assert int((row != 0).sum()) == sum(matrix.numel() for pair in put.values() for matrix in pair)


class Trial:
    """A slot with numbers of its own in each of its rows."""

    def __init__(self, arena, number, own):
        self.arena, self.name = arena, f"slot-{number}"
        self.rows = {key: matrices(4 * number + place, own) for place, key in enumerate(KEYS)}
        arena.add(self.name, own, self.rows["values"])
        for key in KEYS[1:]:
            assert float(arena.row(key, self.name).abs().max()) == 0.0
            arena.write(key, self.name, self.rows[key])

    def is_intact(self):
        return all(equal(self.arena.matrices(key, self.name), self.rows[key]) for key in KEYS)


KEYS = ("values", "gradients", "exp_avg", "exp_avg_sq")


def test_slots_of_any_rank_and_layers_come_and_go_and_the_others_keep_their_rows():
    arena = Arena(CPU)
    trials = {}
    for number, own in enumerate([adapter(3), adapter(20, TWO), adapter(2, THREE), adapter(40)]):
        trials[number] = Trial(arena, number, own)
        assert all(trial.is_intact() for trial in trials.values())
    assert arena.layout == PackLayout.around([adapter(40), adapter(2, THREE)])
    for gone, layout in (
        (1, PackLayout((TWO, ONE, THREE), 40)),
        (3, PackLayout((TWO, ONE, THREE), 8)),
        (2, PackLayout((TWO, ONE), 8)),
    ):
        arena.remove(trials.pop(gone).name)
        assert arena.layout == layout
        assert all(trial.is_intact() for trial in trials.values())
    trials[5] = Trial(arena, 5, adapter(7, ONE))
    assert all(trial.is_intact() for trial in trials.values())


def test_rows_that_change_places_stay_those_of_their_slots():
    arena = Arena(CPU)
    trials = {f"slot-{number}": Trial(arena, number, adapter(3)) for number in range(1, 5)}
    orders = [("slot-3",), ("slot-4", "slot-2"), ("slot-1", "slot-4", "slot-3", "slot-2")]
    for order in orders:
        first = arena.first(order)
        for place, name in enumerate(order):
            for key in KEYS:
                assert torch.equal(first[key][place], arena.row(key, name))
        assert arena.names[: len(order)] == order
        assert all(trial.is_intact() for trial in trials.values())


def test_an_arena_grows_in_steps_and_gives_back_what_nobody_needs():
    arena, seen = Arena(CPU), []
    for number in range(17):
        arena.add(f"slot-{number}", adapter(1), matrices(number, adapter(1)))
        seen.append(arena.row("values", "slot-0").untyped_storage().nbytes() // 4)
    assert [size // arena.layout.width for size in seen] == [
        1, 2, 4, 4, *[8] * 4, *[12] * 4, *[16] * 4, 20
    ]  # fmt: skip
    for number in range(1, 17):
        arena.remove(f"slot-{number}")
    assert arena.row("values", "slot-0").untyped_storage().nbytes() == 4 * arena.layout.width


def test_padding_has_no_gradient_while_others_train(checkpoints, make_recipe, examples_of):
    """Over 20 steps beside a larger rank on more layers: in weights and both moments, too."""
    folder, fields = checkpoints("git"), {"train.batch_size": 3, "train.epochs": 5}
    recipes = {
        "small": make_recipe(folder, **fields, **{
            "adapter.rank": 3, "train.weight_decay": 0.1, "adapter.targets": "text"}),
        "large": make_recipe(folder, **fields, **{"adapter.rank": 16}),
    }  # fmt: skip
    base = load_base(recipes["small"].model, "none", CPU)
    pack, examples = Pack(base), examples_of(base, recipes["small"])
    slot, _ = [pack.admit(name, recipe) for name, recipe in recipes.items()]
    assert len(slot.arena.layout.layers) > len(slot.fresh.layers)

    def row(key):
        return slot.arena.row(key, "small")

    ones = {path: tuple(map(torch.ones_like, pair)) for path, pair in slot.fresh.matrices.items()}
    own = torch.zeros_like(row("values"))
    slot.arena.layout.packed(ones, own)
    padding, forward, steps = own == 0, pack._losses, []

    def checked(*args):
        losses = forward(*args)
        steps.append(float(row("gradients")[~padding].abs().max()))
        assert bool((row("gradients")[padding] == 0).all())
        return losses

    pack._losses = checked
    while slot.rung < 5:
        for name in recipes:
            pack.begin(name, examples)
        while pack.busy:
            pack.step()
    assert len(steps) == 20
    assert min(steps) > 0
    for key in KEYS:
        assert bool((row(key)[padding] == 0).all())
