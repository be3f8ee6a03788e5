"""What every sampler promises."""

import optuna
import pytest

from search_spaces.domains import Choice, IntUniform, LogUniform
from search_spaces.space import Space
from sweeps import samplers

SPACE = Space(
    {
        "quantization": Choice(("none", "nf4")),
        "train.learning_rate": LogUniform(1e-5, 1e-1),
        "train.epochs": IntUniform(2, 8, step=2),
        "adapter.rank": Choice((4, 8, 16), when={"quantization": ("nf4",)}),
    }
)


def points(name, seed, count=14):
    """Points of a serial study; a small learning rate is good."""
    study = optuna.create_study(sampler=samplers.make(name, seed, {}), direction="minimize")
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append(SPACE.suggest(trial))
        study.tell(trial, drawn[-1]["train.learning_rate"])
    return drawn


@pytest.fixture(params=samplers.NAMES)
def name(request):
    return request.param


def test_points_lie_in_the_space_and_conditions_hold(name):
    for point in points(name, 0):
        assert all(SPACE[path].contains(value) for path, value in point.items())
        assert ("adapter.rank" in point) == (point["quantization"] == "nf4")


def test_a_seed_makes_a_serial_study_repeatable(name):
    assert points(name, 7) == points(name, 7)
    assert points(name, 7) != points(name, 8)


def test_without_a_seed_studies_differ(name):
    assert points(name, None) != points(name, None)


def test_options_it_has_not_are_refused(name):
    with pytest.raises(TypeError, match="no_such_option"):
        samplers.make(name, 0, {"no_such_option": 1})


def test_tpe_learns_where_random_does_not():
    """After its start-up trials TPE stays near good points."""

    def late(name):
        return sum(p["train.learning_rate"] < 1e-3 for p in points(name, 3, count=40)[20:])

    assert late("tpe") > late("random")
