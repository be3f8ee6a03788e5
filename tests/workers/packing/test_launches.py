"""A pack costs the host of a GPU about as much as one slot does, whatever is in it.

Counted on a pretended GPU with few layers: each further one costs the same.
"""

import pytest
import torch
import transformers
from packaging.version import Version

from benchmarks.launches import DEPTHS, CountedPack, build
from workers.slots.sequential import SequentialTrainer

TRAINING, GENERATION = 1.35, 1.15
"""Most launches of 16 slots of mixed ranks, targets and rates, by those of one slot."""
FIELDS = {
    "adapter.targets": ("text_all", "text_all", "text"),
    "train.lora_plus_ratio": (1.0, 16.0, 4.0, 1.0, 1.0),
}


def copies_of(pack):
    """The lines that copy; transformers' own masks for GIT did so before 5.23."""
    old = Version(transformers.__version__) < Version("5.23")
    return {line: n for line, n in pack.gpu.copies.items() if not (old and "masking_utils" in line)}


def waits_of(pack):
    """The lines that wait; without a mask transformers asks once whether a row is several texts."""
    known = pack.base.family.traits is None
    masks = {line: n for line, n in pack.gpu.waits.items() if "masking_utils" in line}
    assert sum(masks.values()) <= (0 if known else 1)
    return {line: n for line, n in pack.gpu.waits.items() if line not in masks}


@pytest.fixture(scope="module", params=DEPTHS)
def base(request):
    return build(request.param, most_layers=2)


@pytest.fixture(scope="module")
def one_slot(base):
    return CountedPack(base, 1)


@pytest.fixture(scope="module")
def sixteen_slots(base):
    return CountedPack(base, 16, **FIELDS)


@pytest.fixture(scope="module")
def step(sixteen_slots):
    """Counts of a step of sixteen slots, and the lines that wait and that copy."""
    counts = sixteen_slots.training_step()
    return counts, waits_of(sixteen_slots), copies_of(sixteen_slots)


def test_a_step_of_sixteen_slots_launches_about_as_much_as_one_of_one(one_slot, step):
    assert step[0].launches <= TRAINING * one_slot.training_step().launches


def test_a_step_waits_for_nothing(step):
    assert step[1] == {}


def test_a_step_makes_no_blocking_copy(step):
    assert step[2] == {}


def test_a_token_of_sixteen_slots_launches_about_as_much_as_one_of_one(one_slot, sixteen_slots):
    assert sixteen_slots.token().launches <= GENERATION * one_slot.token().launches


def test_each_token_launches_as_much_as_the_one_before(one_slot):
    assert one_slot.token(4, 6) == one_slot.token(6, 8)


def test_scaled_losses_of_a_float16_base_wait_for_nothing():
    own, base = (build("git", most_layers=2, dtype=torch.float16) for _ in range(2))
    alone, one = CountedPack(own, 1, SequentialTrainer), CountedPack(base, 1)
    several = CountedPack(base, 16, **FIELDS)
    launches = [counted.training_step().launches for counted in (alone, one, several)]
    assert launches[2] <= TRAINING * launches[1]
    for counted in (alone, several):
        assert dict(counted.gpu.waits) == {}
        assert copies_of(counted) == {}


@pytest.mark.parametrize("family", DEPTHS)
def test_what_trains_alone_waits_for_nothing_either(family):
    alone = CountedPack(build(family, most_layers=2), 1, SequentialTrainer)
    assert alone.token(1, 2).launches > 0
    alone.training_step()
    assert waits_of(alone) == {}
    assert copies_of(alone) == {}
