"""Given values become a point as a trial would have drawn it."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.domains import Choice, IntUniform, LogUniform
from search_spaces.space import Space, placed

SPACE = Space(
    {
        "quantization": Choice(("none", "nf4")),
        "train.learning_rate": LogUniform(1e-5, 10.0),
        "adapter.rank": IntUniform(4, 16, step=4, when={"quantization": ("nf4",)}),
    }
)


def test_conditions_decide_what_is_in_a_point():
    values = {"quantization": "none", "train.learning_rate": 1, "adapter.rank": 8, "more": 3}
    point, given = placed(SPACE, values)
    assert point == {"quantization": "none", "train.learning_rate": 1.0}
    assert isinstance(point["train.learning_rate"], float)
    assert given.distributions == {
        "quantization": CategoricalDistribution(("none", "nf4")),
        "train.learning_rate": FloatDistribution(1e-5, 10.0, log=True),
    }
    point, given = placed(SPACE, {**values, "quantization": "nf4"})
    assert point["adapter.rank"] == 8
    assert given.distributions["adapter.rank"] == IntDistribution(4, 16, step=4)


def test_a_missing_value_is_named():
    with pytest.raises(KeyError, match=r"adapter\.rank"):
        placed(SPACE, {"quantization": "nf4", "train.learning_rate": 1e-3})
