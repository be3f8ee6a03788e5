"""Points are assigned once, by the rules, under numbers of their own."""

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.spec.starts import points as start_points
from sweeps.study.study import enqueue, open_study, own_trials, tell
from sweeps.study.suggester import Suggester

FILE = """
name: draws
model: {base: tiny:shapes}
data: {source: shapes}
search:
  space:
    adapter.rank: {choice: [2, 4, 8]}
    adapter.alpha: {choice: [8.0, 16.0, 32.0]}
  start: []
  sampler: {name: random, seed: 3}
"""
RULES = '  rules: ["adapter.alpha <= 4 * adapter.rank"]\n'  # leaves 6 of 9 points


@pytest.fixture
def folder(tmp_path):
    return SweepFolder.create(tmp_path, "draws")


def drawn(sweep, folder, count=None):
    """All points of a sweep, or `count` of them."""
    suggester, points = Suggester(open_study(sweep, folder), sweep), []
    while len(points) != count and (one := suggester.next()) is not None:
        points.append(one.point)
    return points


def by_rank(point):
    return point["adapter.rank"], point["adapter.alpha"]


def test_a_finite_space_gives_each_point_once(folder):
    points = drawn(parse(FILE), folder)
    assert len({by_rank(point) for point in points}) == len(points) == 9


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_rules_hold_and_the_study_knows_what_they_refused(sampler, folder):
    sweep = parse(FILE.replace("name: random", f"name: {sampler}") + RULES)
    points = drawn(sweep, folder)
    assert {by_rank(point) for point in points} == {
        (2, 8.0), (4, 8.0), (4, 16.0), (8, 8.0), (8, 16.0), (8, 32.0),
    }  # fmt: skip
    study = open_study(sweep, folder)
    assert list(own_trials(study)) == [f"trial-{number:03d}" for number in range(6)]
    refused = [one for one in study.trials if "adapter.alpha" in one.user_attrs.get("refused", "")]
    assert refused
    for trial in refused:
        assert trial.state is TrialState.PRUNED
        assert trial.constraints == {"rules": 1.0}
        assert sweep.refusal(trial.params) is not None
    again = [one for one in study.trials if "trial-" in one.user_attrs.get("refused", "")]
    assert {trial.state for trial in again} <= {TrialState.FAIL}


def test_what_fits_on_no_gpu_is_a_violated_constraint(folder):
    sweep = parse(FILE)
    study, reason = open_study(sweep, folder), "needs at least 30 GB, and the largest GPU has 24 GB"
    suggester = Suggester(study, sweep)
    suggester.refuse(lambda point: reason if point["adapter.rank"] == 8 else None)
    points = []
    while (one := suggester.next()) is not None:
        points.append(one.point["adapter.rank"])
    assert sorted(points) == [2, 2, 2, 4, 4, 4]
    refused = [trial for trial in study.get_trials() if trial.user_attrs.get("refused") == reason]
    assert refused
    assert {trial.state for trial in refused} == {TrialState.PRUNED}
    assert all(trial.constraints == {"rules": 1.0} for trial in refused)


def test_a_sweep_of_which_nothing_fits_says_so(folder):
    sweep = parse(FILE)
    suggester = Suggester(open_study(sweep, folder), sweep)
    suggester.refuse(lambda point: "needs at least 30 GB, and the largest GPU has 24 GB")
    with pytest.raises(ValueError, match=r"fits in memory; rejected by needs at least 30 GB.*100"):
        suggester.next()


def test_numbers_count_assigned_points_though_optuna_counts_more(folder):
    sweep = parse(FILE + RULES)
    study = open_study(sweep, folder)
    suggester = Suggester(study, sweep)
    assert [suggester.next().number for _ in range(6)] == list(range(6))
    assert len(study.trials) > 6


def test_tpe_learns_which_region_a_rule_refuses(folder):
    """Half of a range is refused; random goes on to draw there, TPE hardly."""
    space = "{train.learning_rate: {uniform: [0.0001, 1.0]}}"
    text = f"""
name: draws
model: {{base: tiny:shapes}}
data: {{source: shapes}}
search: {{space: {space}, start: [], sampler: {{name: NAME, seed: 1}},
         rules: ["train.learning_rate <= 0.3"]}}"""

    def refused(name):
        sweep = parse(text.replace("NAME", name))
        study = optuna.create_study(direction="maximize")
        suggester = Suggester(study, sweep)
        for _ in range(30):
            one = suggester.next()
            tell(study, one.trial, TrialState.COMPLETE, value=-one.point["train.learning_rate"])
        return len(study.trials) - 30

    assert refused("tpe") < refused("random") / 2


def test_rules_that_leave_almost_nothing_say_which_one_rejects_most():
    """Of a range nobody can say that no point is left; what was drawn is named."""
    tight = parse(
        FILE.replace("{choice: [8.0, 16.0, 32.0]}", "{uniform: [1.0, 1000000.0]}")
        + '  rules: ["adapter.alpha <= 900", "adapter.rank <= 4"]\n'
    )
    with pytest.raises(ValueError, match=r"adapter\.alpha <= 900 \(\d+\)") as raised:
        Suggester(optuna.create_study(), tight).next()
    assert "none of 100 sampled points" in str(raised.value)


def test_a_sweep_resumed_after_refused_draws_has_the_points_it_would_have_had(tmp_path):
    sweep = parse(FILE + RULES)
    through = drawn(sweep, SweepFolder.create(tmp_path, "draws"))
    folder, parts = SweepFolder.create(tmp_path, "draws"), []
    for _ in range(6):
        study = open_study(sweep, folder)
        one = Suggester(study, sweep).next()
        parts.append(one.point)
        tell(study, one.trial, TrialState.COMPLETE, value=0.5)
    assert parts == through


def test_trials_that_nobody_ended_come_again_under_their_numbers(folder):
    sweep = parse(FILE)
    suggester = Suggester(open_study(sweep, folder), sweep)
    first, second = suggester.next(), suggester.next()
    second.trial.report(0.5, 1)
    again = Suggester(open_study(sweep, folder), sweep)
    one, two = again.next(), again.next()
    assert [(one.number, one.point), (two.number, two.point)] == [
        (0, first.point),
        (1, second.point),
    ]
    assert two.rungs == {1}
    assert again.next().number == 2


def test_an_interrupted_point_is_sampled_again_as_it_would_have_been(tmp_path):
    sweep = parse(FILE)
    undisturbed = drawn(sweep, SweepFolder.create(tmp_path, "draws"), 3)
    folder = SweepFolder.create(tmp_path, "draws")
    drawn(sweep, folder, 1)
    study = open_study(sweep, folder)
    study.ask().suggest_categorical("adapter.rank", (2, 4, 8))  # and then the driver dies
    suggester = Suggester(open_study(sweep, folder), sweep)
    assert [suggester.next().point for _ in range(3)] == undisturbed
    cut_off = open_study(sweep, folder).trials[1]
    assert (cut_off.state, cut_off.user_attrs["error"][:10]) == (TrialState.FAIL, "the driver")


def test_an_interrupted_start_point_is_not_lost(folder):
    sweep = parse(FILE.replace("start: []", "start: [{adapter.rank: 8, adapter.alpha: 8.0}]"))
    study = open_study(sweep, folder)
    for point in start_points(sweep):
        enqueue(study, point)
    study.ask()  # and then the driver dies
    point = Suggester(open_study(sweep, folder), sweep).next().point
    assert by_rank(point) == (8, 8.0)


def test_the_missing_part_of_a_start_point_is_drawn_until_the_rules_allow_it(folder):
    sweep = parse(FILE.replace("start: []", "start: [{adapter.alpha: 32.0}]") + RULES)
    study = open_study(sweep, folder)
    for point in start_points(sweep):
        enqueue(study, point)
    assert by_rank(Suggester(study, sweep).next().point) == (8, 32.0)


def test_a_sweep_without_a_seed_keeps_the_one_it_was_given(folder):
    sweep = parse(FILE.replace("seed: 3", "seed: null"))
    drawn(sweep, folder, 1)
    seed = open_study(sweep, folder).user_attrs["seed"]
    drawn(sweep, folder, 1)
    assert open_study(sweep, folder).user_attrs["seed"] == seed


def test_plain_optuna_reads_the_study(folder):
    sweep = parse(FILE)
    suggester = Suggester(open_study(sweep, folder), sweep)
    one = suggester.next()
    tell(suggester._study, one.trial, TrialState.COMPLETE, value=0.5)
    backend = optuna.storages.journal.JournalFileBackend(str(folder.study))
    study = optuna.load_study(
        study_name=folder.sweep_id, storage=optuna.storages.JournalStorage(backend)
    )
    assert study.best_params == one.point
    assert study.best_trial.user_attrs["trial"] == "trial-000"
