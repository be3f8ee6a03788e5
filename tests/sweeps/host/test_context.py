import math
import pickle

import pytest

from sweeps.host.context import SweepContext
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.spec.sweep import base_of
from sweeps.trial import trial_id, trial_number, trial_title


def context(tmp_path, objective):
    text = "name: a\nmodel: {base: tiny:shapes}\ndata: {source: shapes}\n"
    return SweepContext(
        sweep=parse(text, overrides=[f"search.objective={objective}"]),
        folder=SweepFolder(root=tmp_path, sweep_id="a-1"),
        threads=1,
    )


@pytest.mark.parametrize("number", [0, 7, 999, 1000, 12345])
def test_a_trial_has_one_name_and_it_gives_back_its_number(number):
    assert trial_number(trial_id(number)) == number


def test_trial_names_sort_by_number():
    names = [trial_id(number) for number in range(1000)]
    assert sorted(names) == names


@pytest.mark.parametrize(
    ("point", "title"),
    [
        ({}, "trial-009"),
        ({"adapter.rank": 16, "adapter.alpha": 32, "quantization": "nf4"}, "trial-009 r16 a32 nf4"),
        ({"quantization": "none", "adapter.rank": 4}, "trial-009 r4"),
        ({"train.learning_rate": 1.234e-5}, "trial-009 lr1.23e-5"),
        ({"train.learning_rate": 3e-4, "adapter.alpha": 128.0}, "trial-009 lr0.0003 a128"),
        ({"adapter.dropout": 0.05, "train.epochs": 3}, "trial-009 d0.05 epochs=3"),
    ],
)
def test_a_title_tells_trials_apart(point, title):
    assert trial_title(9, point) == title


@pytest.mark.parametrize(
    ("objective", "good", "bad"), [("{metric: cider}", 2.0, 1.0), ("{metric: loss}", 1.0, 2.0)]
)
def test_better_follows_the_objective_and_nan_is_never_better(tmp_path, objective, good, bad):
    made = context(tmp_path, objective)
    assert made.better(good, bad)
    assert not made.better(bad, good)
    assert not made.better(good, good)
    assert made.better(bad, None)
    assert not made.better(math.nan, None)
    assert not made.better(math.nan, bad)


def test_the_objective_is_named_as_in_a_report(tmp_path):
    assert context(tmp_path, "{metric: loss}").objective == "val/loss"


def test_a_context_travels_to_other_processes(tmp_path):
    made = context(tmp_path, "{metric: cider}")
    packed = pickle.dumps(made)
    assert pickle.loads(packed) == made
    assert len(packed) < 20_000


def test_what_decides_the_base_of_a_trial_is_the_model_as_it_is_loaded(tmp_path):
    sweep = context(tmp_path, "{metric: cider, mode: max}").sweep
    own = base_of(sweep, {})
    assert base_of(sweep, {"adapter.rank": 2, "quantization": "none"}) == own
    points = {"quantization": "nf4"}, {"model.dtype": "bfloat16"}
    assert len({own, *(base_of(sweep, point) for point in points)}) == 3
