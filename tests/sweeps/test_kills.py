"""kill -9 of the driver at random moments: nothing is lost, nothing is done twice."""

import pytest

from benchmarks import kills
from sweeps.results.folder import SweepFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, untrained_base):
    """A serial sweep that nobody killed, and what it left."""
    place = kills.prepare(tmp_path_factory.mktemp("quiet"), untrained_base, trials=6, slots=1)
    code, output = kills.command(place, "run", "killed.yaml")
    assert code == 0, output
    return place, kills.left(place)


def test_the_final_table_of_a_serial_sweep_is_that_of_an_undisturbed_one(
    quiet, tmp_path, untrained_base
):
    noisy = kills.prepare(tmp_path, untrained_base, trials=6, slots=1)
    moments = list(kills.killed(noisy, 2, seed=1))
    assert len(moments) == 2
    assert moments == sorted(moments)
    assert kills.left(noisy) == quiet[1]
    assert (quiet[1].doctor, quiet[1].repeated) == ("", 0)


def test_a_finished_sweep_takes_more_trials(quiet):
    place, before = quiet
    code, output = kills.command(place, "resume", kills.ID, "--trials", "+2")
    assert code == 0, output
    after = kills.left(place)
    assert len(after.table) == 8
    assert set(before.table) <= set(after.table)
    assert (after.doctor, after.repeated, after.unequal) == ("", 0, 0)
    assert SweepFolder.find(place / "sweep-results", kills.ID).earlier_spec(1).exists()


def test_a_population_decides_the_same_when_it_is_killed(tmp_path, untrained_base):
    """Also with more slots: who takes over whose state does not depend on who is faster."""
    schedule = "name: pbt, options: {perturbation_interval: 1}"
    quiet = kills.prepare(tmp_path / "quiet", untrained_base, trials=4, slots=1, schedule=schedule)
    code, output = kills.command(quiet, "run", "killed.yaml")
    assert code == 0, output
    noisy = kills.prepare(tmp_path / "noisy", untrained_base, trials=4, slots=2, schedule=schedule)
    list(kills.killed(noisy, 1, seed=1))
    left = kills.left(quiet)
    assert kills.left(noisy) == left
    assert (left.doctor, left.repeated) == ("", 0)
    records = [(each / "sweep-results/killed-1/population.jsonl").read_text()
               for each in (quiet, noisy)]  # fmt: skip
    assert records[0] == records[1]
    assert records[0].count("donor") >= 3


def test_no_trial_is_lost_or_run_twice_with_two_slots(tmp_path, untrained_base):
    workplace = kills.prepare(tmp_path, untrained_base, trials=6, slots=2)
    list(kills.killed(workplace, 1, seed=2))
    left = kills.left(workplace)
    assert (left.doctor, left.repeated, left.unequal) == ("", 0, 0)
    assert len({title for title, *_ in left.table}) == len(left.table) == 6
    assert {state for _, state, *_ in left.table} <= {"completed", "stopped"}
