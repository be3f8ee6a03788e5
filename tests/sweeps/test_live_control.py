"""A running sweep is controlled from outside, with the commands that a person has."""

import time

import pytest

from benchmarks import kills
from sweeps.results import lease
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import load
from sweeps.study.trials import trial_states

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory, untrained_base):
    """A sweep of two long trials, begun: (its folder, its driver's process)."""
    workplace = kills.prepare(
        tmp_path_factory.mktemp("controlled"), untrained_base, trials=2, slots=1, epochs=4000
    )
    text = (workplace / "killed.yaml").read_text().replace("name: asha", "name: fifo")
    (workplace / "killed.yaml").write_text(text)
    process = kills.start(workplace, "run", "killed.yaml")
    wait_for(lambda: kills.recorded(workplace) >= 2 or process.poll() is not None)
    yield workplace, process
    if process.poll() is None:
        process.terminate()
        process.communicate()


def wait_for(happened, seconds=300.0):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def folder_of(workplace):
    return SweepFolder.find(workplace / "sweep-results", kills.ID)


def trials(workplace):
    folder = folder_of(workplace)
    return trial_states(load(folder.spec), folder)


def test_one_sweep_controlled_from_its_first_rung_to_its_last(running):
    workplace, process = running
    folder = folder_of(workplace)

    code, said = kills.command(workplace, "resume", kills.ID)
    assert (code, f"process {process.pid}" in said) == (2, True)

    # Paused: the rung that trains ends, and no other begins.
    code, said = kills.command(workplace, "pause", kills.ID)
    assert (code, "no further rung begins" in said) == (0, True)
    time.sleep(3)
    before = kills.recorded(workplace)
    code, said = kills.command(workplace, "status", kills.ID)
    assert (code, "paused" in said, f"process {process.pid}" in said) == (0, True, True)
    assert kills.recorded(workplace) == before

    # One more trial, a copy that begins where the first one stands.
    rung = trials(workplace)["trial-000"].rungs[-1].rung
    code, said = kills.command(
        workplace, "add", kills.ID, "--from", "trial-000", "--snapshot", str(rung),
        "--set", "train.learning_rate=0.0123",
    )  # fmt: skip
    assert (code, "one more trial, 3 in all" in said) == (0, True), said
    code, said = kills.command(workplace, "add", kills.ID, "--set", "adapter.rnk=4")
    assert (code, "did you mean adapter.rank?" in said) == (2, True)

    # The first trial ends after its rung; the copy is the next.
    assert kills.command(workplace, "continue", kills.ID)[0] == 0
    code, said = kills.command(workplace, "stop", kills.ID, "trial-000")
    assert (code, "ends after the rung" in said) == (0, True)
    wait_for(lambda: trials(workplace)["trial-000"].state == "stopped")
    wait_for(lambda: "trial-001" in trials(workplace) and trials(workplace)["trial-001"].rungs)
    copy = trials(workplace)["trial-001"]
    assert copy.point["train.learning_rate"] == 0.0123
    assert copy.rungs[0].rung == rung + 1

    code, said = kills.command(workplace, "stop", kills.ID)
    assert (code, "stops now" in said) == (0, True)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert lease.read(folder) is None
    code, said = kills.command(workplace, "doctor", kills.ID)
    assert (code, "agree" in said) == (0, True), said

    # It goes on with fewer epochs to go: not allowed; with more trials: as wished.
    code, said = kills.command(workplace, "resume", kills.ID, "--set", "train.epochs=5")
    assert (code, "train.epochs" in said, "must stay 400" in said) == (2, True, True)
    code, said = kills.command(workplace, "run", "killed.yaml")
    assert (code, "--fresh" in said) == (2, True)
