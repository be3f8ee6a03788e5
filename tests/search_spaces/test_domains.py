import math
import pickle
import warnings
from typing import Any

import optuna
import pytest

from search_spaces.domains import (
    Choice,
    Domain,
    IntLogUniform,
    IntUniform,
    LogUniform,
    Uniform,
)
from search_spaces.forms import read_domain
from search_spaces.issues import SpaceError
from search_spaces.values import same

ALL = (
    Choice((4, 8, 16)),
    Choice((None, True, 2, 0.5, "nf4")),
    Uniform(-1.0, 1.0),
    Uniform(0.0, 0.2, 0.05),
    Uniform(1, 3),
    LogUniform(1e-5, 1e-3),
    IntUniform(1, 9),
    IntUniform(4, 16, 4),
    IntLogUniform(1, 128),
)
each_domain = pytest.mark.parametrize("domain", ALL, ids=str)


def drawn(domain: Domain, trials: int = 60) -> list[Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [domain.suggest(study.ask(), "field") for _ in range(trials)]


@each_domain
def test_draws_only_what_it_contains(domain: Domain) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(domain.contains(value) for value in drawn(domain))


@each_domain
def test_contains_its_edges(domain: Domain) -> None:
    assert all(domain.contains(edge) for edge in domain.edges())


@each_domain
def test_draws_as_many_values_as_it_says(domain: Domain) -> None:
    values = drawn(domain, 400)
    if domain.size() < 20:
        assert len(set(values)) == domain.size()
    else:
        assert len(set(values)) > 20


@each_domain
def test_its_grid_is_all_that_it_draws(domain: Domain) -> None:
    if math.isinf(domain.size()):
        with pytest.raises(ValueError, match="a continuous range has no grid"):
            domain.grid()
        return
    grid = domain.grid()
    assert len(grid) == domain.size()
    assert all(domain.contains(value) for value in grid)
    assert all(any(same(value, own) for own in grid) for value in drawn(domain))


@each_domain
def test_reads_back_from_its_form(domain: Domain) -> None:
    assert read_domain(domain.form()) == domain


@each_domain
def test_can_be_pickled(domain: Domain) -> None:
    assert pickle.loads(pickle.dumps(domain)) == domain


@pytest.mark.parametrize(
    ("domain", "kind"), [(Uniform(1, 3), float), (IntUniform(1, 3), int), (LogUniform(1, 3), float)]
)
def test_draws_the_type_of_its_field(domain: Domain, kind: type) -> None:
    assert {type(value) for value in (*drawn(domain), *domain.edges())} == {kind}


def test_log_uniform_draws_every_power_of_ten_equally_often() -> None:
    exponents = [math.log10(value) for value in drawn(LogUniform(1e-6, 1e-2), 1000)]
    assert sum(exponents) / len(exponents) == pytest.approx(-4, abs=0.15)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Choice((1, 2)), True),
        (Choice((True, False)), 1),
        (Choice(("4",)), 4),
        (IntUniform(1, 9), 4.0),
        (IntUniform(1, 9), True),
        (IntUniform(4, 16, 4), 6),
        (IntUniform(1, 9), 10),
        (Uniform(0.0, 1.0), "0.5"),
        (Uniform(0.0, 1.0), math.nan),
        (Uniform(0.0, 1.0, 0.25), 0.3),
    ],
)
def test_does_not_contain(domain: Domain, value: Any) -> None:
    assert not domain.contains(value)


@pytest.mark.parametrize(
    ("domain", "size"),
    [
        (Choice((4, 8, 16)), 3),
        (Uniform(0.0, 0.3, 0.1), 4),
        (Uniform(0.0, 1.0), math.inf),
        (LogUniform(1e-5, 1e-3), math.inf),
        (IntUniform(1, 9), 9),
        (IntUniform(4, 16, 4), 4),
        (IntLogUniform(1, 128), 128),
    ],
)
def test_size(domain: Domain, size: float) -> None:
    assert domain.size() == size


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (Choice((None, True, 4, "nf4")), "null, true, 4, nf4"),
        (Uniform(0.0, 0.2, 0.05), "0.0 to 0.2 by 0.05"),
        (LogUniform(1e-5, 1e-3), "1e-05 to 0.001, log scale"),
        (IntUniform(4, 1000000, when={"a": (1, "x")}), "4 to 1000000, when a is 1 or x"),
    ],
)
def test_text(domain: Domain, text: str) -> None:
    assert str(domain) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(()), "choice  must be a list of one or more .*, got \\[\\]"),
        (lambda: Choice((1, (2,))), "choice  must be a list of one or more"),
        (lambda: Choice((4, 8, 4)), "without repeats, 4 repeats"),
        (lambda: Choice((1, True)), "without repeats, true repeats"),
        (lambda: Uniform("a", 2), 'must be two numbers, .* got \\["a", 2\\]'),
        (lambda: Uniform(0.0, True), "must be two numbers"),
        (lambda: Uniform(0.0, math.inf), "must be two numbers"),
        (lambda: Uniform(2.0, 1.0), "must have a low end below the high end, got \\[2.0, 1.0\\]"),
        (lambda: Uniform(1.0, 1.0), "must have a low end below the high end"),
        (lambda: Uniform(0.0, 1.0, 0.0), "step  must be a number above 0, got 0.0"),
        (lambda: Uniform(0.0, 1.0, 2.0), "step  must be at most the length of the range, 1.0"),
        (lambda: Uniform(0.0, 1.0, 0.3), "step  must divide the range, or its end 1.0"),
        (lambda: LogUniform(0.0, 1.0), "must have a low end above 0"),
        (lambda: LogUniform(0.1, 1.0, 0.1), "step  must be left out: on a logarithmic scale"),
        (lambda: IntUniform(1, 2.5), "must be two whole numbers"),
        (lambda: IntUniform(1, 5, 0.5), "step  must be a whole number above 0"),
        (lambda: IntUniform(1, 5, True), "step  must be a whole number above 0"),
        (lambda: IntLogUniform(0, 8), "must have a low end above 0"),
        (lambda: IntLogUniform(1, 8, 2), "step  must be left out"),
    ],
)
def test_an_impossible_domain_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


def test_a_range_and_its_step_are_refused_together() -> None:
    with pytest.raises(SpaceError) as caught:
        Uniform(2.0, 1.0, -1.0)
    assert [issue.keys for issue in caught.value.issues] == [("uniform",), ("step",)]
