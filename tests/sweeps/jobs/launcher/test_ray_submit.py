"""Stock Ray, word for word: `ray up`, `ray submit sweep.yaml launch.py`, `ray down`."""

import os
import shlex
import signal
import time

import pytest

from sweeps.results import inbox
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import load
from sweeps.study.study import open_study, own_trials

pytestmark = pytest.mark.slow
SMALL = (
    "data.limit=24 train.epochs=8 train.batch_size=4 evaluate.metrics=[exact_match] "
    "evaluate.max_new_tokens=4 search.objective.metric=loss search.trials=6 schedule.name=fifo "
    "guard.stop=false resources.slots=1"
)


def until(done, seconds=120.0):
    """Wait for something to be true and return it."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return found


def ended(folder):
    """Wait for a sweep's driver to end; return its trials as Optuna knows them."""
    until(lambda: not folder.driver.exists())
    trials = own_trials(open_study(load(folder.spec), folder))
    return {
        name: (trial.state.name, trial.params, trial.intermediate_values)
        for name, trial in trials.items()
    }


def test_a_submitted_sweep_outlives_its_client(machine, untrained_base):
    results = machine.folder / "my results"
    where = f"--results {shlex.quote(str(results))}"
    sets = " ".join(f"--set {each}" for each in (*SMALL.split(), f"model.base={untrained_base}"))
    machine.run("ray get-auth-token --generate")
    machine.run("ray up -y sweep.yaml")
    written = machine.run(f"sweeps launcher sweep.yaml {sets} {where}")
    assert "run it: ray submit sweep.yaml launch.py" in written

    client = machine.start("ray submit sweep.yaml launch.py")
    until(lambda: list(results.glob("launched/quickstart-*.log")))
    os.killpg(client.pid, signal.SIGKILL)  # the laptop is closed while the driver still starts
    client.wait()
    folder = SweepFolder(root=results, sweep_id="quickstart-1")
    until(lambda: folder.driver.exists() and folder.is_there)
    until(lambda: len(list(folder.path.glob("trials/*/rungs.jsonl"))) > 1)
    inbox.pause(folder)  # lest it end before it is stopped

    refused = machine.run("ray submit sweep.yaml launch.py", code=1)
    assert "error: quickstart-1 is being run by process" in refused
    stop = f"sweeps stop quickstart-1 {where}"
    assert stop in refused.replace("\r\n", "")

    machine.run(f"ray exec sweep.yaml {shlex.quote(stop)}")
    stopped = ended(folder)
    assert 0 < len(stopped) < 6
    undecided = machine.run("ray submit sweep.yaml launch.py", code=1)
    assert "quickstart-1 is half-finished" in undecided
    assert "error: the driver ended with code 2" in undecided

    resumed = machine.run("ray submit sweep.yaml launch.py --resume")
    assert "quickstart-1 is run by process" in resumed
    assert "resume after a stop: ray submit sweep.yaml launch.py --resume" in resumed
    submitted = ended(folder)
    assert [state for state, *_ in submitted.values()] == ["COMPLETE"] * 6
    assert len(list((machine.folder / "ray").glob("session_2*"))) == 1  # no driver had its own

    machine.run("ray down -y sweep.yaml")
    assert "raylet" not in machine.run("ps ax")

    machine.run(f"sweeps run sweep.yaml {sets} --results here")
    assert ended(SweepFolder(root=machine.folder / "here", sweep_id="quickstart-1")) == submitted
