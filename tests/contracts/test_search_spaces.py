"""What every preset keeps to; a new one joins with its line in `PRESETS`."""

import inspect
import pickle

import optuna
import pytest

from search_spaces.forms import read_space
from search_spaces.presets import PRESETS, Preset
from search_spaces.rules import feasible, rule_issues
from search_spaces.space import Space
from search_spaces.values import Value
from sweeps.spec.load import dump, parse, read, recipes
from sweeps.spec.validation import leaves, value_at
from workers.host.combinations import conflicts
from workers.recipe import Data, Model, Recipe

RECIPE = Recipe(model=Model(base="tiny:shapes"), data=Data(source="shapes"))
TRIALS = 50


@pytest.fixture(params=PRESETS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def preset(name: str) -> Preset:
    return PRESETS[name]()


def points(space: Space) -> list[dict[str, Value]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [space.suggest(study.ask()) for _ in range(TRIALS)]


def test_every_point_makes_a_recipe_that_holds_it(preset: Preset) -> None:
    for point in points(preset.space):
        recipe = RECIPE.with_point(point)
        assert {path: value_at(recipe, path) for path in point} == point


def test_every_allowed_point_can_train(preset: Preset) -> None:
    refused = 0
    for point in points(preset.space):
        if all(rule.holds(point) for rule in preset.rules):
            assert conflicts(RECIPE.with_point(point)) == []
        else:
            refused += 1
    assert refused < TRIALS / 2
    assert bool(refused) is bool(preset.rules)


def test_its_rules_are_sound_and_leave_most_of_the_space(preset: Preset) -> None:
    fixed = {path: value_at(RECIPE, path) for path in leaves(Recipe) if path not in preset.space}
    assert [
        issue for rule in preset.rules for issue in rule_issues(rule, preset.space, fixed)
    ] == []
    assert feasible(preset.space, preset.rules, fixed).share > 0.5


def test_points_differ(preset: Preset) -> None:
    assert len({tuple(point.items()) for point in points(preset.space)}) > TRIALS / 2


def test_reads_back_from_its_form(preset: Preset) -> None:
    assert read_space(preset.space.form()) == preset.space


def test_can_be_swept_by_name_and_reads_back_from_the_file(name: str, preset: Preset) -> None:
    text = "name: a\nmodel: {base: tiny:shapes}\ndata: {source: shapes}\nsearch: {space: %s}"
    sweep = parse(text % name)
    assert (sweep.search.space, sweep.search.all_rules) == (preset.space, preset.rules)
    assert parse(dump(sweep)) == sweep


@pytest.mark.parametrize("recipe", recipes())
def test_every_ready_recipe_can_be_searched_by_it(name: str, recipe: str) -> None:
    sweep = read(recipe, [f"search.space={name}"])
    trainable = 0
    for point in points(sweep.search.space):
        if sweep.refusal(point) is None:
            assert conflicts(sweep.with_point(point)) == []
            trainable += 1
    assert trainable > TRIALS / 2


def test_gives_its_reasons(name: str) -> None:
    what, _, why = (inspect.getdoc(PRESETS[name]) or "").partition("\n\n")
    assert what.startswith("Return the space")
    assert len(why.split()) > 20


def test_can_be_pickled(preset: Preset) -> None:
    assert pickle.loads(pickle.dumps(preset)) == preset
