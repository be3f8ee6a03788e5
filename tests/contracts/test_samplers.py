"""What every sampler promises, on a study in a journal file."""

import warnings

import pytest

from search_spaces.domains import Choice, IntUniform, LogUniform, Uniform
from search_spaces.space import Space
from sweeps import samplers
from sweeps.results.folder import SweepFolder
from sweeps.samplers import Draw
from sweeps.spec import plugins
from sweeps.spec.load import SpecError, parse
from sweeps.spec.validation import issues_of
from sweeps.study.study import open_study, own_trials, prepare_study, tell
from sweeps.study.suggester import Suggester

NUMBERS = """
    train.learning_rate: {log_uniform: [1e-5, 1e-1]}
    adapter.dropout: {uniform: [0.0, 0.5]}
    train.epochs: {int_uniform: [2, 8], step: 2}
"""
STEPS = """
    train.warmup: {uniform: [0.0, 0.9], step: 0.1}
    adapter.dropout: {uniform: [0.0, 0.5], step: 0.05}
    train.epochs: {int_uniform: [2, 8], step: 2}
"""
CHOICES = """
    adapter.rank: {choice: [2, 4, 8, 16]}
    train.epochs: {int_uniform: [2, 8], step: 2}
"""
CONDITIONS = """
    quantization: {choice: [none, nf4]}
    train.epochs: {int_uniform: [2, 8], step: 2}
    adapter.rank: {choice: [4, 8, 16], when: {quantization: nf4}}
"""
SMALL = {
    "tpe": {"startup_trials": 4},
    "gp": {"startup_trials": 4},
    "cmaes": {"population": 4},
    "nsga2": {"population": 4},
}
"""Options with which a sampler's model is asked within a few trials."""
CONDITIONAL = ("random", "grid", "tpe")


@pytest.fixture(params=samplers.NAMES)
def name(request):
    return request.param


def file(name, space, seed=7, trials=40):
    seed = "null" if seed is None else seed
    return f"""
name: contract
model: {{base: tiny:shapes}}
data: {{source: shapes}}
search:
  sampler: {{name: {name}, seed: {seed}, options: {SMALL.get(name, {})}}}
  trials: {trials}
  start: []
  space: {space}"""


def space_for(name):
    return STEPS if name == "grid" else NUMBERS


def score(point):
    """The smaller the dropout the better, with a little of the epochs."""
    return point.get("adapter.dropout", 0.0) + 0.001 * point["train.epochs"]


def run(sweep, folder, count, resumed=False):
    """The points of `count` trials, one after the other; `resumed` before each one."""
    from optuna.trial import TrialState

    points, suggester = [], None
    for _ in range(count):
        if suggester is None or resumed:
            study = open_study(sweep, folder)
            suggester = Suggester(study, sweep)
        drawn = suggester.next()
        if drawn is None:
            break
        points.append(drawn.point)
        tell(study, drawn.trial, TrialState.COMPLETE, value=-score(drawn.point))
    return points


def points(tmp_path, name, seed=7, count=14, space=None, resumed=False):
    sweep = parse(file(name, space or space_for(name), seed))
    folder = SweepFolder.create(tmp_path, "contract")
    prepare_study(sweep, folder, resuming=False)
    return run(sweep, folder, count, resumed)


def test_points_lie_in_the_space_and_differ(name, tmp_path):
    sweep = parse(file(name, space_for(name)))
    drawn = points(tmp_path, name)
    for point in drawn:
        assert point.keys() == sweep.search.space.keys()
        assert all(sweep.search.space[path].contains(value) for path, value in point.items())
    assert len({str(point) for point in drawn}) == 14


def test_a_seed_makes_a_serial_sweep_repeatable(name, tmp_path):
    first = points(tmp_path, name, count=9)
    assert points(tmp_path, name, count=9) == first
    assert points(tmp_path, name, count=9, seed=8) != first


def test_without_a_seed_sweeps_differ(name, tmp_path):
    assert points(tmp_path, name, None, 3) != points(tmp_path, name, None, 3)


def test_a_sweep_that_is_resumed_before_each_trial_has_the_same_points(name, tmp_path):
    """Nothing that a sampler needs lies anywhere but in the study."""
    assert points(tmp_path, name, count=9, resumed=True) == points(tmp_path, name, count=9)


def test_running_trials_have_different_points(name, tmp_path):
    """Six trials run at a time, before and after the model is asked."""
    sweep = parse(file(name, space_for(name)))
    folder = SweepFolder.create(tmp_path, "contract")
    prepare_study(sweep, folder, resuming=False)
    before = run(sweep, folder, 6)
    study = open_study(sweep, folder)
    suggester = Suggester(study, sweep)
    parallel = [suggester.next().point for _ in range(6)]
    assert len({str(point) for point in before + parallel}) == 12


def test_cmaes_refuses_a_space_of_choices_only():
    with pytest.raises(SpecError, match=r"search\.space  must have a range of numbers"):
        parse(file("cmaes", "{adapter.rank: {choice: [2, 4, 8, 16]}}"))


def test_a_finite_space_ends_when_every_point_was_tried(name, tmp_path):
    drawn = points(tmp_path, name, count=20, space=CHOICES)
    assert len({str(point) for point in drawn}) == len(drawn) == 16


def test_conditions_hold_or_are_refused_with_the_reason(name, tmp_path):
    if name not in CONDITIONAL:
        with pytest.raises(SpecError, match=rf"adapter\.rank\.when  must be without .*{name}"):
            parse(file(name, CONDITIONS))
        return
    drawn = points(tmp_path, name, count=20, space=CONDITIONS)
    assert len({str(point) for point in drawn}) == len(drawn) == 16
    for point in drawn:
        assert ("adapter.rank" in point) == (point["quantization"] == "nf4")


def test_trials_that_were_stopped_or_violate_a_limit_do_no_harm(name, tmp_path):
    from optuna.trial import TrialState

    sweep = parse(file(name, space_for(name)))
    folder = SweepFolder.create(tmp_path, "contract")
    study, _ = prepare_study(sweep, folder, resuming=False)
    suggester = Suggester(study, sweep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(10):
            drawn = suggester.next()
            if number % 3 == 0:
                drawn.trial.set_constraint("memory", 1.0)
                tell(study, drawn.trial, TrialState.PRUNED, "out of memory")
            elif number % 3 == 1:
                drawn.trial.report(0.5, 1)
                tell(study, drawn.trial, TrialState.PRUNED)
            else:
                tell(study, drawn.trial, TrialState.COMPLETE, value=score(drawn.point))
    assert len(own_trials(study)) == 10


def test_it_goes_on_with_several_objectives_or_says_that_it_cannot(name, tmp_path):
    from optuna.trial import TrialState

    several = "objective: [{metric: cider}, {metric: adapter_mb}]"
    text = file(name, space_for(name)).replace("search:\n", f"search:\n  {several}\n", 1)
    if not samplers.module(name).SEVERAL_OBJECTIVES:
        with pytest.raises(SpecError, match=r"search\.sampler\.name  must be one of .*tpe"):
            parse(text)
        return
    sweep = parse(text)
    study, _ = prepare_study(sweep, SweepFolder.create(tmp_path, "contract"), resuming=False)
    suggester = Suggester(study, sweep)
    for number in range(14):
        trial = suggester.next().trial
        trial.set_constraint("adapter_mb", 1.0 if number % 3 == 0 else -1.0)
        if number % 4 == 0:
            tell(study, trial, TrialState.PRUNED)
        else:
            tell(study, trial, TrialState.COMPLETE, value=[number / 14, float(number % 5)])
    assert len(own_trials(study)) == 14


def test_options_it_has_not_are_refused(name):
    with pytest.raises(TypeError, match="no_such_option"):
        samplers.make(name, Draw(sweep_seed=0), {"no_such_option": 1})


@pytest.mark.parametrize(
    ("name", "options", "must"),
    [
        ("tpe", {"startup_trials": 0}, "of at least 1"),
        ("cmaes", {"population": 1}, "of at least 2"),
        ("nsga2", {"population": 1}, "of at least 2"),
        ("gp", {"startup_trials": "few"}, "a whole number"),
        ("qmc", {"sequence": "latin"}, "one of sobol, halton"),
        ("grid", {"order": "random"}, "one of the keys"),
    ],
)
def test_options_out_of_range_are_refused_at_load(name, options, must):
    (issue,) = issues_of(plugins.options(samplers.module(name)), options)
    assert must in issue.message


def test_a_grid_names_the_domains_that_have_no_end():
    with pytest.raises(SpecError) as raised:
        parse(file("grid", NUMBERS))
    assert [problem.path for problem in raised.value.issues] == [
        "search.space.train.learning_rate",
        "search.space.adapter.dropout",
    ]


def test_nsga2_crosses_the_points_of_its_first_generation(tmp_path):
    drawn = [point["adapter.dropout"] for point in points(tmp_path, "nsga2", count=16)]
    inherited = [value for value in drawn[4:] if value in drawn[:4]]
    assert len(inherited) > len(drawn[4:]) / 2


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
def test_models_learn_where_random_does_not(name, tmp_path):
    """The points after the first ones are better than those of random."""

    def late(name):
        sweep = parse(file(name, NUMBERS, seed=3))
        folder = SweepFolder.create(tmp_path, "contract")
        prepare_study(sweep, folder, resuming=False)
        return sum(map(score, run(sweep, folder, 14)[6:]))

    assert late(name) < late("random")


def test_qmc_spreads_more_evenly_than_random(tmp_path):
    """Of 16 points behind the first, each sixteenth of a field has one."""
    space = "{adapter.dropout: {uniform: [0.0, 0.5]}, train.warmup: {uniform: [0.0, 0.9]}}"
    sweep = parse(file("qmc", space, seed=1))
    folder = SweepFolder.create(tmp_path, "contract")
    study, _ = prepare_study(sweep, folder, resuming=False)
    suggester = Suggester(study, sweep)
    _, *others = [suggester.next().point["adapter.dropout"] for _ in range(17)]
    assert sorted(int(value / 0.5 * 16) for value in others) == list(range(16))


def test_spaces_without_choices_or_conditions_suit_all_but_grid(name):
    space = Space(
        {"adapter.dropout": Uniform(0.0, 0.5), "train.learning_rate": LogUniform(1e-5, 1)}
    )
    assert bool(list(samplers.issues(name, space))) == (name == "grid")
    finite = Space({"adapter.rank": Choice((1, 2)), "train.epochs": IntUniform(1, 4)})
    assert not list(samplers.issues(name, finite))
