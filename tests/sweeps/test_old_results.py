"""Results of the code before today's folders open, and every command goes on with them.

`old_results/make.py` says what they are.
"""

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import kills
from sweeps.board.handle import SweepHandle
from sweeps.cli.app import app
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.serving.batcher import Batcher
from sweeps.serving.served import Registered

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).with_name("old_results") / "sweep-results.tar.xz"
MODEL = "old-captioner"
PLACE = b"/old-workplace"
"""The folder in which they were made."""
LOAD = """
import json, sys
import mlflow
model = mlflow.pyfunc.load_model("models:/old-captioner/1")
captions = model.predict(json.load(sys.stdin))
print(json.dumps([sys.modules["workers"].__path__[0], captions]))
"""


def unpack(folder):
    """Unpack the results into a folder, and put its path where that of `PLACE` stands."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    here = str(folder).encode()
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".db" and PLACE in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(PLACE, here))
    with closing(sqlite3.connect(folder / "sweep-results/tracking.db")) as store, store:
        tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in store.execute(f"PRAGMA table_info({table})").fetchall():
                store.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?1, ?2) "
                    f"WHERE instr({column}, ?1)",
                    (PLACE.decode(), str(folder)),
                )


def records(results):
    """Return the rungs on record by trial."""
    folder = SweepFolder.find(results, "old-1")
    return {trial: record.read(folder, trial) for trial in folder.trials()}


def losses(results):
    """Return (rung, validation loss) as MLflow has them, by trial."""
    earlier = SweepHandle.find(results, "old-1")
    return {
        run.data.tags["trial.id"]: [
            (point.step, point.value)
            for point in earlier.run.client.get_metric_history(run.info.run_id, "val/loss")
        ]
        for run in earlier.run.trials()
    }


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    unpack(folder)
    return folder


@pytest.fixture(scope="module")
def call(workplace):
    """Return a function: arguments of `sweeps` -> exit code and what it printed."""

    def run(*arguments):
        results = ("--results", str(workplace / "sweep-results"))
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            patch.setenv("COLUMNS", "200")
            done = CliRunner().invoke(app, [*arguments, *results])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return run


@pytest.fixture(scope="module")
def found(workplace, call):
    """What a command prints of the sweep as its killed driver left it, and its records."""
    results, page = workplace / "sweep-results", workplace / "old-1.html"
    return SimpleNamespace(
        status=call("status", "old-1"), compare=call("compare", "old-1"),
        report=call("report", "old-1", "--out", str(page)), page=page,
        history=call("history", MODEL, "--json"), records=records(results),
        losses=losses(results),
    )  # fmt: skip


@pytest.fixture(scope="module")
def synced(found, workplace, call):
    """The same after `sweeps sync`."""
    return SimpleNamespace(
        sync=call("sync", "old-1"), doctor=call("doctor", "old-1"),
        losses=losses(workplace / "sweep-results"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def resumed(synced, workplace, call):
    """The same after `sweeps resume`."""
    results = workplace / "sweep-results"
    code, output = kills.command(workplace, "resume", "old-1")
    return SimpleNamespace(
        code=code, output=output, doctor=call("doctor", "old-1"), compare=call("compare", "old-1"),
        records=records(results), losses=losses(results),
    )  # fmt: skip


@pytest.fixture(scope="module")
def promoted(resumed, call):
    """What `sweeps promote` prints for the winner of the resumed sweep, and the champion then."""
    return SimpleNamespace(done=call("promote", "old-1"), champion=champion(call))


def champion(call):
    code, output = call("history", MODEL, "--json")
    assert code == 0, output
    return json.loads(output)


def test_a_sweep_whose_driver_was_killed_is_shown(found):
    code, output = found.status
    assert code == 0
    assert output.count("completed") == 2
    assert "trial-002 r4 lr0.01    2/4           0.6750  0.6750  interrupted" in output
    assert "not running; go on with: sweeps resume old-1" in output
    assert "wait for MLflow (trial-002): sweeps sync old-1" in output


def test_its_leaderboard_and_report_are_made(found):
    code, output = found.compare
    assert code == 0
    order = [line.split()[0] for line in output.splitlines() if line.startswith("trial-")]
    assert order == ["trial-001", "trial-000", "trial-002"]
    assert "zero-shot" in output
    assert found.report[0] == 0
    assert "trial-001 r8 lr0.005" in found.page.read_text()


def test_what_waited_for_mlflow_is_sent(found, synced):
    assert [rung for rung, _ in found.losses["trial-002"]] == [0, 1]
    code, output = synced.sync
    assert code == 0
    assert "old-1: 2 entries sent to sqlite:" in output
    assert "ended 1 runs without a driver: trial-002" in output
    assert [rung for rung, _ in synced.losses["trial-002"]] == [0, 1, 2]
    assert synced.doctor == (0, "3 trials, 10 rungs: study, records and MLflow agree\n")


def test_it_goes_on_and_trains_nothing_twice(found, synced, resumed):
    assert resumed.code == 0, resumed.output
    assert "old-1: 4/4 trials" in resumed.output
    assert not re.findall("trial-00[01].* running", resumed.output)
    for trial, rungs in found.records.items():
        assert resumed.records[trial][: len(rungs)] == rungs
    assert {trial: len(rungs) for trial, rungs in resumed.records.items()} == dict.fromkeys(
        ("trial-000", "trial-001", "trial-002", "trial-003"), 4
    )
    for trial, points in synced.losses.items():
        assert resumed.losses[trial][: len(points)] == points
    assert {tuple(rung for rung, _ in points) for points in resumed.losses.values()} == {
        (0, 1, 2, 3, 4)
    }
    assert resumed.doctor == (0, "4 trials, 16 rungs: study, records and MLflow agree\n")
    assert resumed.compare[1].count("completed") == 4


def test_its_ledger_goes_on_with_a_better_adapter_and_back(found, promoted, call):
    """The gate judges against the old version by what was stored when it was promoted."""
    (first,) = json.loads(found.history[1])["entries"]
    assert (first["version"], first["by"]) == ("1", "someone")
    code, output = promoted.done
    assert code == 0, output
    assert "old-captioner version 1: scores as stored with it" in output
    assert promoted.champion["champion"] == "2"
    code, output = call("rollback", MODEL, "--why", "as it was")
    assert code == 0, output
    after = champion(call)
    assert after["champion"] == "1"
    assert after["entries"][0] == first
    changes = [(entry["kind"], entry["version"]) for entry in after["entries"]]
    assert changes == [("promotion", "1"), ("promotion", "2"), ("rollback", "1")]


def test_its_registered_version_writes_the_captions_that_it_wrote(workplace, call):
    again = workplace / "again.csv"
    code, output = call("predict", f"models:/{MODEL}/1", "--out", str(again))
    assert code == 0, output
    assert again.read_text() == (workplace / "captions.csv").read_text()


def test_its_registered_version_is_served_also_by_plain_mlflow_with_its_own_code(workplace, call):
    picture = workplace / "red.png"
    Image.new("RGB", (40, 30), "red").save(picture)
    code, output = call("caption", str(picture), "--model", f"models:/{MODEL}/1")
    caption = output.removeprefix(f"{picture}\t").rstrip("\n")
    assert (code, bool(caption)) == (0, True)

    batcher = Batcher()
    try:
        model = Registered(name=MODEL, alias="champion", results=workplace / "sweep-results")
        served = model.load("1", batcher, None)
        assert served.captioner.write([served.captioner.prepare_file(picture, None)]) == [caption]
    finally:
        batcher.close()

    store = f"sqlite:///{workplace}/sweep-results/tracking.db"
    request = [{"image": base64.b64encode(picture.read_bytes()).decode()}]
    plain = subprocess.run(
        [sys.executable, "-c", LOAD], input=json.dumps(request), capture_output=True, text=True,
        cwd=workplace, env={**os.environ, "MLFLOW_TRACKING_URI": store},
    )  # fmt: skip
    assert plain.returncode == 0, plain.stderr
    code, captions = json.loads(plain.stdout)
    assert captions == [caption]
    assert Path(code).is_relative_to(workplace / "sweep-results/artifacts/models")
