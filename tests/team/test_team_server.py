"""The team's server, run for real: who may do what there, and what a backup brings back.

The tests go on from one another: a trainer's sweep is promoted, saved, lost and restored.
"""

import base64
import io
import logging
import shutil
import signal
from pathlib import Path

import mlflow
import psutil
import pytest
from PIL import Image

from benchmarks import exposure
from sweeps.tracking import errors
from sweeps.tracking.client import quiet_mlflow

pytestmark = pytest.mark.slow
MODEL = "team-captioner"
SWEEP = "quickstart-1"
SMALL = (
    "search.trials=1",
    "search.space={adapter.rank: {choice: [8]}}",
    "train.epochs=4",
    "evaluate.metrics=[cider, exact_match]",
    "evaluate.final_beams=1",
    "resources={hosts: 1, slots: 1}",
    "promote=null",
)
"""One trial, scored without Java, whose promotion is not the trainer's business."""


@pytest.fixture(scope="module")
def sweep(team):
    """A trainer's sweep on the server."""
    settings = [f"--set={setting}" for setting in (*SMALL, f"tracking.uri={team.address}")]
    done = team.sweeps("ann", "run", "quickstart", *settings)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def champion(team, sweep):
    """The model id of the version that a promoter made the champion of `MODEL`."""
    done = team.sweeps("bob", "promote", SWEEP, "--to", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr
    with team.user("eve") as client:
        source = client.get_model_version_by_alias(MODEL, "champion").source
    assert source.startswith("models:/m-")
    return source.removeprefix("models:/")


@pytest.fixture(scope="module")
def ledger(team):
    """A run in an experiment with the name of a ledger, which one promoter made."""
    with team.user("bob") as client:
        return client.create_run(client.create_experiment("ledger of tried")).info.run_id


def experiment(client, name):
    return client.get_experiment_by_name(name).experiment_id


def run_of(client, name="quickstart"):
    return client.search_runs([experiment(client, name)], "tags.`trial.id` LIKE '%'")[0]


def objects(store):
    """Key -> content of all that the bucket holds."""
    found = store[1].list_objects_v2(Bucket="team").get("Contents", ())
    read = {file["Key"]: store[1].get_object(Bucket="team", Key=file["Key"]) for file in found}
    return {key: answer["Body"].read() for key, answer in read.items()}


def refused(act, client, *more):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        act(client, *more)
    assert "does not let" in str(errors.refusal(caught.value)), caught.value


def test_a_trainer_logs_a_sweep_and_needs_no_key_of_the_store(team, sweep, store):
    with team.user("eve") as client:
        run = run_of(client)
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert run.data.metrics["val/cider"] > 0
        assert "eval" in [file.path for file in client.list_artifacts(run.info.run_id)]
    assert len(objects(store)) > 3
    assert all(key.startswith("artifacts/") for key in objects(store))


def test_the_password_stands_in_nothing_that_the_sweep_left(team, sweep, store):
    password = team.passwords["ann"].encode()
    folders = (team.folder / "sweep-results", team.folder / "ray")
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(paths) > 40
    assert [path for path in paths if password in path.read_bytes()] == []
    assert [key for key, content in objects(store).items() if password in content] == []
    assert password not in (team.folder / "server.log").read_bytes()


def test_a_trainer_cannot_promote(team, sweep):
    done = team.sweeps("ann", "promote", SWEEP, "--to", "stolen")
    assert done.returncode == 1
    assert "does not let the user 'ann' do this" in done.stderr
    assert "Traceback" not in done.stderr
    with team.user("ann") as client:
        assert "stolen" not in [model.name for model in client.search_registered_models()]


def test_files_come_through_the_server_alone(team, champion, caplog):
    """By itself MLflow's client would get addresses in the store, which it may not reach."""
    quiet_mlflow()
    with team.user("eve"), caplog.at_level(logging.INFO, logger="werkzeug"):
        mlflow.artifacts.download_artifacts(f"models:/{champion}")
    assert champion in caplog.text, "the store writes a line for each request"
    assert "X-Amz-Expires" not in caplog.text


def test_another_promoter_goes_on_where_the_first_one_began(team, champion, ledger):
    """What MLflow gives to those who make a model or a ledger, the role gives to the others."""
    with team.user("bea") as client:
        client.log_param(ledger, "entry", "of another one", synchronous=True)
        client.set_registered_model_alias(MODEL, "tried", "1")
        client.set_model_version_tag(MODEL, "1", "tried", "yes")


def forge(client, champion, ledger, tmp_path):
    (tmp_path / "captioner.py").write_text("print('not what was promoted')")
    client.log_model_artifacts(champion, str(tmp_path))


STEPS = {
    "alias": lambda client, *_: client.set_registered_model_alias(MODEL, "champion", "1"),
    "tag": lambda client, *_: client.set_model_version_tag(MODEL, "1", "approved", "yes"),
    "model": lambda client, *_: client.create_registered_model("mine"),
    "ledger": lambda client, *_: client.create_experiment("ledger of mine"),
    "rename": lambda client, *_: client.rename_experiment(
        experiment(client, "quickstart"), "ledger of mine"
    ),
    "entry": lambda client, _, ledger, *__: client.log_param(ledger, "x", "x", synchronous=True),
    "files": forge,
    "deletion": lambda client, *_: client.delete_experiment(experiment(client, "quickstart")),
}
"""Steps by which somebody could decide what serves without being a promoter."""


@pytest.mark.parametrize("step", STEPS)
def test_a_trainer_decides_nothing_that_serves(team, champion, ledger, tmp_path, step):
    with team.user("ann") as client:
        refused(STEPS[step], client, champion, ledger, tmp_path)


def test_trainers_share_what_is_shared_and_nothing_else(team, sweep):
    with team.user("al") as client:
        assert client.create_run(experiment(client, "shared")).info.status == "RUNNING"
        refused(lambda client: client.create_run(experiment(client, "quickstart")), client)


WRITES = {
    "experiment": lambda client: client.create_experiment("eve"),
    "model": lambda client: client.create_registered_model("eve"),
    "metric": lambda client: client.log_metric(run_of(client).info.run_id, "m", 1.0),
    "file": lambda client: client.log_text(run_of(client).info.run_id, "x", "x.txt"),
    "note": lambda client: client.set_experiment_tag(experiment(client, "quickstart"), "x", "x"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_viewer_writes_nothing(team, sweep, write):
    with team.user("eve") as client:
        refused(WRITES[write], client)


def test_strangers_and_foreign_names_are_kept_out(team):
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert team.status(search) == 401
    assert team.status(search, "eve") == 200
    assert team.status(search, "eve", Host="elsewhere.example") == 403
    assert team.status("/health", Host="elsewhere.example") == 200


def test_it_listens_on_loopback_and_shows_no_secret_to_other_users(team):
    assert exposure.listening(team.process.pid) == {("127.0.0.1", team.port)}
    database = [each for each in psutil.net_connections("tcp") if each.laddr.port == team.port + 1]
    assert {each.laddr.ip for each in database if each.status == "LISTEN"} == {"127.0.0.1"}
    shown = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert any("mlflow server" in line for line in shown)
    assert any("postgres" in line for line in shown)
    assert not [line for line in shown for word in team.passwords.values() if word in line]


def test_a_wrong_password_is_refused_before_anything_is_made(team, monkeypatch, tmp_path):
    from sweeps.driver import run as driver
    from sweeps.spec.load import read
    from sweeps.spec.problems import RefusedError

    sweep = read("quickstart", [f"tracking.uri={team.address}"])
    with team.user("ann"):
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-password")
        with pytest.raises(RefusedError) as caught:
            driver.run(sweep, tmp_path, None)
    said = str(caught.value)
    assert said.startswith(f"MLflow at {team.address} does not know the user 'ann'")
    assert "not-the-password" not in said
    assert list(tmp_path.iterdir()) == []


def test_roles_are_made_again_without_changing_anything(team):
    done = team.bootstrap("--trainer", "al")
    assert (done.returncode, done.stdout) == (0, "al is in trainers\n"), done.stderr
    done = team.bootstrap("--viewer", "new", MLFLOW_TRACKING_PASSWORD="wrong")
    assert done.returncode == 1
    assert "error: the server of MLFLOW_TRACKING_URI: " in done.stderr


def test_a_backup_brings_everything_back(team, champion, store):
    """Database and bucket are lost; the champion loads afterwards, and passwords still count."""
    backup, before = team.folder / "backup", objects(store)
    done = team.script("backup.sh", backup)
    assert done.returncode == 0, done.stderr
    assert for_others(backup) == []
    assert for_others(team.folder / "home") == [team.folder / "home"]  # Postgres' user comes by
    assert team.script("backup.sh", backup).stderr == (
        f"error: {backup} must be a new folder; it is there already\n"
    )
    assert "must be empty, it has" in team.script("restore.sh", backup).stderr

    with team.stopped():
        shutil.rmtree(team.folder / "home")
        assert team.script("postgres.sh", "start").returncode == 0
        assert "must hold no artifacts" in team.script("restore.sh", backup).stderr
        for key in before:
            store[1].delete_object(Bucket="team", Key=key)
        damage(backup / "database.dump")
        assert "database.dump: FAILED" in team.script("restore.sh", backup).stdout
        damage(backup / "database.dump")
        done = team.script("restore.sh", backup)
        assert done.returncode == 0, done.stderr
    after = objects(store)
    assert after.keys() == before.keys()
    assert after == before
    assert len(captions(team)) == 1


def for_others(folder: Path) -> list[Path]:
    """What of a folder somebody else than its user may read or enter."""
    inside = [folder, *folder.rglob("*")]
    return [path for path in inside if path.lstat().st_mode & 0o077 and not path.is_symlink()]


def damage(path: Path) -> None:
    """Turn one byte in the middle around; again, and the file is whole."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def captions(team):
    """Caption one image with the champion, as a viewer."""
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "PNG")
    request = {"image": base64.b64encode(picture.getvalue()).decode(), "max_new_tokens": 8}
    with team.user("eve"):
        return mlflow.pyfunc.load_model(f"models:/{MODEL}@champion").predict([request])


def test_an_upgrade_saves_first_and_wants_the_server_stopped(team, champion):
    """The server is killed: nothing may outlive its script, or the upgrade finds it running."""
    saved = team.folder / "before-upgrade"
    running = team.script("upgrade.sh", saved)
    assert (running.returncode, saved.exists()) == (1, False)
    assert "stop the server first" in running.stderr
    with team.stopped(signal.SIGKILL):
        assert team.script("postgres.sh", "start").returncode == 0
        done = team.script("upgrade.sh", saved)
        assert done.returncode == 0, done.stderr
    assert (saved / "database.dump").stat().st_size > 10_000


def test_garbage_collection_spares_the_champion(team, champion):
    with team.user("ann") as client:
        for run in client.search_runs([experiment(client, "quickstart")]):
            client.delete_run(run.info.run_id)
        done = team.script("gc.sh", "0s", **team.login("admin"))
        assert done.returncode == 0, done.stderr
        assert "permanently deleted" in done.stdout
        assert len(captions(team)) == 1
    with team.user("admin") as client:
        client.delete_experiment(experiment(client, "quickstart"))
    done = team.script("gc.sh", "0s", **team.login("admin"))
    assert done.returncode == 1
    assert f"error: {MODEL} version 1 needs models:/{champion}" in done.stderr
    assert "its experiment 'quickstart' is deleted; mlflow experiments restore" in done.stderr
