"""Dropout that is a function of trial, example, layer, position and feature."""

import math

import pytest
import torch

from workers.packing import dropout

CPU = torch.device("cpu")
POSITIONS, FEATURES = 50, 64


def keys(count, seed=0, epoch=0):
    return [dropout.row_key(seed, epoch, place) for place in range(count)]


def masks(slots, probabilities, layers=()):
    """Return the masks of slots with these keys of their rows."""
    rows = torch.tensor([key for own in slots for key in own], dtype=torch.int32)
    return dropout.DropoutLayout.of(probabilities, CPU, layers).masks(rows)


def kept(row_keys, probability, path="layer", positions=POSITIONS, features=FEATURES):
    """Return what one slot with these rows keeps, (rows, positions, features)."""
    drawn = masks([row_keys], [probability])
    x = torch.zeros(1, len(row_keys) * positions, features)
    return drawn.kept(x, dropout.salt_of(path)).view(len(row_keys), positions, features)


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5])
def test_as_much_is_dropped_as_the_probability_says(probability):
    mask = kept(keys(200), probability)
    sigma = math.sqrt(probability * (1 - probability) / mask.numel())
    assert float(mask.mean()) == pytest.approx(1 - probability, abs=5 * sigma)
    # Every row, position and feature by itself, too: none is always kept or always dropped.
    for axes in ((1, 2), (0, 2), (0, 1)):
        means = mask.mean(dim=axes)
        own = math.sqrt(probability * (1 - probability) * means.numel() / mask.numel())
        assert float((means - (1 - probability)).abs().max()) < 6 * own


def correlation(one, other):
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_draws_have_nothing_to_do_with_each_other():
    mask = kept(keys(200), 0.5)
    neighbours = {
        "rows": (mask[1:], mask[:-1]),
        "positions": (mask[:, 1:], mask[:, :-1]),
        "features": (mask[..., 1:], mask[..., :-1]),
        "pairs of features": (mask[..., 2:], mask[..., :-2]),
        "layers": (mask, kept(keys(200), 0.5, path="another")),
        "seeds": (mask, kept(keys(200, seed=1), 0.5)),
        "epochs": (mask, kept(keys(200, epoch=1), 0.5)),
    }
    found = {of: correlation(*pair) for of, pair in neighbours.items()}
    bound = 5 / math.sqrt(mask[1:, 1:, 2:].numel())
    assert {of: value for of, value in found.items() if abs(value) > bound} == {}


def test_rows_of_all_seeds_epochs_and_places_have_keys_of_their_own():
    found = [
        dropout.row_key(seed, epoch, place)
        for seed in range(10)
        for epoch in range(10)
        for place in range(100)
    ]
    # 10,000 of 2^32: a dozen pairs that are equal by chance would be a wonder.
    assert len(found) - len(set(found)) < 12


def test_padding_and_neighbours_change_no_draw():
    alone = kept(keys(3), 0.3)
    longer = kept(keys(3), 0.3, positions=POSITIONS + 9)
    assert torch.equal(longer[:, :POSITIONS], alone)
    drawn = masks([keys(3, seed=7), keys(3)], [0.6, 0.3])
    x = torch.zeros(2, 3 * POSITIONS, FEATURES)
    beside = drawn.kept(x, dropout.salt_of("layer"))
    assert torch.equal(beside[1].view_as(alone), alone)


@pytest.mark.parametrize("most", [1, 3 * 4 * POSITIONS * FEATURES, 10**9])
def test_masks_of_layers_made_together_are_those_made_one_by_one(monkeypatch, most):
    monkeypatch.setitem(dropout.AHEAD, "cpu", most)
    narrow = [(f"layer.{number}", FEATURES) for number in range(7)]
    layers = [*narrow, ("wide", 2 * FEATURES)]
    together = masks([keys(4)], [0.3], layers)
    # As a model asks, and once more from behind, as one does that recomputes its activations.
    for path, features in [*layers, *reversed(layers), narrow[3], narrow[3], ("unheard", 5)]:
        made = together.kept(torch.zeros(1, 4 * POSITIONS, features), dropout.salt_of(path))
        alone = kept(keys(4), 0.3, path, features=features)
        assert torch.equal(made.view_as(alone), alone)


def test_no_more_masks_wait_than_may_be_made_ahead(monkeypatch):
    monkeypatch.setitem(dropout.AHEAD, "cpu", 3 * POSITIONS * FEATURES)
    layers = [(f"layer.{number}", FEATURES) for number in range(9)]
    drawn = masks([keys(1)], [0.3], layers)
    x = torch.zeros(1, POSITIONS, FEATURES)
    for path, _ in [*layers, *reversed(layers)]:
        drawn.kept(x, dropout.salt_of(path))
        assert sum(len(masks) for masks in drawn._ahead.values()) <= 2


def test_a_slot_without_dropout_keeps_all_beside_one_with_dropout():
    mask = masks([keys(4), keys(4)], [0.0, 0.5]).kept(torch.zeros(2, 4 * POSITIONS, FEATURES), 1)
    assert bool((mask[0] == 1).all())
    assert 0.4 < float(mask[1].mean()) < 0.6
    gains = dropout.DropoutLayout.of([0.0, 0.5], CPU).gains
    assert gains.flatten().tolist() == [1.0, 2.0]


def test_odd_numbers_of_features_are_drawn_too():
    mask = kept(keys(50), 0.5, features=7)
    assert mask.shape == (50, POSITIONS, 7)
    assert float(mask[..., -1].mean()) == pytest.approx(0.5, abs=0.05)


def test_nothing_is_drawn_where_nobody_drops():
    assert dropout.DropoutLayout.of([0.0, 0.0], CPU) is None


def test_single_tokens_are_drawn_by_their_rows_and_places_alone():
    """As the head sees them: label positions only, of some rows more than of others."""
    drawn = masks([keys(40)], [0.3])
    rows, places = torch.ones(40, 30).nonzero(as_tuple=True)
    mask = drawn.at(rows, places).kept(torch.zeros(len(rows), FEATURES), 1)
    sigma = math.sqrt(0.3 * 0.7 / mask.numel())
    assert float(mask.mean()) == pytest.approx(0.7, abs=5 * sigma)
    grid = mask.view(40, 30, FEATURES)
    bound = 5 / math.sqrt(grid[1:, 1:].numel())
    assert abs(correlation(grid[1:], grid[:-1])) < bound
    assert abs(correlation(grid[:, 1:], grid[:, :-1])) < bound
    few = torch.arange(0, len(rows), 7)
    again = drawn.at(rows[few], places[few]).kept(torch.zeros(len(few), FEATURES), 1)
    assert torch.equal(again, mask[few])
