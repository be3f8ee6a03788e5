"""What every preset keeps to; a new one joins with its line in `PRESETS`."""

import pickle

import optuna
import pytest

from search_spaces.presets import PRESETS
from search_spaces.space import Space
from sweeps.spec import parse
from workers.recipe import Data, Model, Recipe

RECIPE = Recipe(model=Model(base="tiny:shapes"), data=Data(source="shapes"))
TRIALS = 50


@pytest.fixture(params=PRESETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def space(name: str) -> Space:
    return PRESETS[name]()


def field(recipe: Recipe, path: str) -> object:
    value: object = recipe
    for key in path.split("."):
        value = getattr(value, key)
    return value


def test_every_point_makes_a_recipe_that_holds_it(space: Space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(TRIALS):
        point = space.suggest(study.ask())
        recipe = RECIPE.with_point(point)
        assert {path: field(recipe, path) for path in point} == point


def test_points_differ(space: Space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    points = {tuple(space.suggest(study.ask()).items()) for _ in range(TRIALS)}
    assert len(points) > TRIALS / 2


def test_can_be_swept_by_name(name: str, space: Space) -> None:
    text = "name: a\nmodel: {base: tiny:shapes}\ndata: {source: shapes}\nsearch: {space: %s}"
    assert parse(text % name).search.space == space


def test_can_be_pickled(space: Space) -> None:
    assert pickle.loads(pickle.dumps(space)) == space
