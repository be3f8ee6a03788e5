"""kill -9 of the driver at random moments: nothing is lost, nothing is done twice."""

import pytest

from benchmarks import kills

pytestmark = pytest.mark.slow


def test_the_final_table_of_a_serial_sweep_is_that_of_an_undisturbed_one(tmp_path, untrained_base):
    quiet = kills.prepare(tmp_path / "quiet", untrained_base, trials=6, slots=1)
    code, output = kills.command(quiet, "run", "killed.yaml")
    assert code == 0, output
    noisy = kills.prepare(tmp_path / "noisy", untrained_base, trials=6, slots=1)
    moments = list(kills.killed(noisy, 4, seed=1))
    assert len(moments) == 4
    assert moments == sorted(moments)
    assert kills.left(noisy) == kills.left(quiet)
    assert kills.left(quiet).doctor == ""
    assert kills.left(quiet).repeated == 0


def test_a_population_decides_the_same_however_often_it_is_killed(tmp_path, untrained_base):
    """Also with more slots: who takes over whose state does not depend on who is faster."""
    schedule = "name: pbt, options: {perturbation_interval: 1}"
    quiet = kills.prepare(tmp_path / "quiet", untrained_base, trials=4, slots=1, schedule=schedule)
    code, output = kills.command(quiet, "run", "killed.yaml")
    assert code == 0, output
    noisy = kills.prepare(tmp_path / "noisy", untrained_base, trials=4, slots=2, schedule=schedule)
    list(kills.killed(noisy, 3, seed=1))
    assert kills.left(noisy) == kills.left(quiet)
    assert (kills.left(quiet).doctor, kills.left(quiet).repeated) == ("", 0)
    records = [(each / "sweep-results/killed-1/population.jsonl").read_text()
               for each in (quiet, noisy)]  # fmt: skip
    assert records[0] == records[1]
    assert records[0].count("donor") >= 3


def test_no_trial_is_lost_or_run_twice_with_two_slots(tmp_path, untrained_base):
    workplace = kills.prepare(tmp_path, untrained_base, trials=6, slots=2)
    list(kills.killed(workplace, 4, seed=2))
    left = kills.left(workplace)
    assert (left.doctor, left.repeated, left.unequal) == ("", 0, 0)
    assert len({title for title, *_ in left.table}) == len(left.table) == 6
    assert {state for _, state, *_ in left.table} <= {"completed", "stopped"}
