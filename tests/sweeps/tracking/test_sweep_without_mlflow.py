"""A whole sweep whose MLflow server is killed in its middle: it ends, and nothing is lost."""

import shutil
import time

import pytest

from benchmarks import kills
from benchmarks.server import Server
from sweeps.board.handle import SweepHandle

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path, empty_store):
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    made = Server(folder, f"sqlite:///{folder}/tracking.db")
    made.start()
    made.wait()
    yield made
    made.kill()


def wait_for(happened, process, seconds=400.0):
    deadline = time.monotonic() + seconds
    while not happened() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_sweep_ends_without_its_server_and_is_complete_after_sync(
    server, tmp_path, untrained_base
):
    workplace = kills.prepare(tmp_path / "work", untrained_base, trials=6, slots=2)
    with (workplace / "killed.yaml").open("a") as file:
        file.write(f"tracking: {{uri: '{server.uri}', experiment: kept}}\n")
    process = kills.start(workplace, "run", "killed.yaml")
    wait_for(lambda: kills.recorded(workplace) >= 2, process)
    server.kill()
    before = kills.recorded(workplace)
    wait_for(lambda: kills.recorded(workplace) >= before + 3, process)
    _, said = kills.command(workplace, "status", kills.ID)
    assert "wait for MLflow" in said
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "MLflow is away: the leaderboard is that of the records on disk" in output
    assert "sweeps sync killed-1" in output

    code, said = kills.command(workplace, "sync", kills.ID)
    assert (code, "MLflow does not answer" in said) == (1, True), said
    server.start()
    server.wait()
    code, said = kills.command(workplace, "sync", kills.ID)
    assert code == 0, said
    assert "entries sent" in said
    code, said = kills.command(workplace, "sync")
    assert (code, said) == (0, "nothing waits for MLflow\n")

    left = kills.left(workplace)
    assert (left.doctor, left.repeated, left.unequal) == ("", 0, 0)
    assert len(left.table) == 6
    earlier = SweepHandle.find(workplace / "sweep-results", kills.ID)
    run = earlier.run.client.get_run(earlier.run.run_id)
    assert (run.info.status, run.data.tags["sweep.state"]) == ("FINISHED", "completed")
    winner, runs = earlier.board.winner, earlier.run.run_ids()
    assert run.data.tags["sweep.best_run"] == runs[winner.name]
    assert runs.keys() == {trial.name for trial in earlier.board.trials}
    for run_id in runs.values():
        run = earlier.run.client.get_run(run_id)
        assert run.info.status in ("FINISHED", "KILLED")
        assert run.info.start_time < run.info.end_time
        files = earlier.run.client.list_artifacts(run_id, "eval")
        assert "eval/predictions.json" in {file.path for file in files}
