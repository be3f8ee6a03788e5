"""The team's server, run for real: who may do what there, and what a backup brings back.

The tests go on from one another: a trainer's sweep is promoted, saved, lost and restored.
"""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
MODEL = "team-captioner"
SWEEP = "quickstart-1"
SMALL = (
    "search.trials=1",
    "search.space={adapter.rank: {choice: [8]}}",
    "evaluate.metrics=[bleu, cider, exact_match]",
    "promote=null",
)
"""One trial, scored without Java, whose promotion is not the trainer's business."""


@pytest.fixture(scope="module")
def sweep(team):
    """A trainer's sweep on the server: what the command said and did."""
    settings = [f"--set={setting}" for setting in (*SMALL, f"tracking.uri={team.address}")]
    return team.sweeps("ann", "run", "quickstart", *settings)


@pytest.fixture(scope="module")
def promotion(team, sweep):
    """What the command said and did by which a promoter promoted the trainer's sweep."""
    return team.sweeps("bob", "promote", SWEEP, "--to", MODEL)


def printed(done):
    """Return what a Python run printed, which must have been JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done):
    assert done.returncode != 0, done.stdout
    assert "403" in done.stderr, done.stderr


def files_with(text, *folders):
    """Return the files below folders that hold a text."""
    paths = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    assert len(paths) > 20
    return [str(path) for path in paths if text.encode() in path.read_bytes()]


def test_a_trainer_logs_a_sweep_and_needs_no_key_of_the_store(team, sweep, store):
    assert sweep.returncode == 0, sweep.stderr
    code = """
import json
experiment = client.get_experiment_by_name("quickstart")
runs = client.search_runs([experiment.experiment_id])
trial = [run for run in runs if "trial.id" in run.data.tags][0].info.run_id
names = [file.path for file in client.list_artifacts(trial)]
print(json.dumps([experiment.artifact_location, len(runs), names]))
"""
    location, runs, names = printed(team.python("eve", code))
    assert location.startswith("mlflow-artifacts:/")
    assert runs == 2
    assert "eval" in names
    kept = store[1].list_objects_v2(Bucket="team")["Contents"]
    assert len(kept) > 3
    assert all(file["Key"].startswith("artifacts/") for file in kept)


def test_the_password_stands_in_no_file_of_the_run(team, sweep, store):
    password = team.passwords["ann"]
    folders = (team.folder / "sweep-results", team.folder / "ray")
    assert files_with(password, *folders) == []
    assert password not in (team.folder / "server.log").read_text()
    for file in store[1].list_objects_v2(Bucket="team")["Contents"]:
        stored = store[1].get_object(Bucket="team", Key=file["Key"])["Body"].read()
        assert password.encode() not in stored, file["Key"]


@pytest.mark.parametrize("user", ["ann", "eve"])
def test_who_is_no_promoter_cannot_promote(team, sweep, user):
    done = team.sweeps(user, "promote", SWEEP, "--to", "stolen")
    assert done.returncode == 1
    assert f"does not let the user '{user}' do this" in done.stderr
    assert "Traceback" not in done.stderr
    names = "import json; print(json.dumps([m.name for m in client.search_registered_models()]))"
    assert "stolen" not in printed(team.python("eve", names))


def test_a_promoter_promotes(team, promotion):
    assert promotion.returncode == 0, promotion.stdout + promotion.stderr
    code = f"""
import json
version = client.get_model_version_by_alias({MODEL!r}, "champion")
print(json.dumps(version.source))
"""
    assert printed(team.python("eve", code)).startswith("models:/m-")


def test_another_promoter_goes_on_where_the_first_one_began(team, promotion):
    """What MLflow gives to the one who made model and ledger, the role gives to all."""
    code = f"""
client.set_registered_model_alias({MODEL!r}, "tried", "1")
ledger = client.get_experiment_by_name("ledger of {MODEL}")
if ledger is None:
    ledger = client.get_experiment(client.create_experiment("ledger of {MODEL}"))
run = client.create_run(ledger.experiment_id).info.run_id
client.log_param(run, "entry", "mine", synchronous=True)
client.set_terminated(run)
print(run)
"""
    done = team.python("bea", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "act",
    [
        f"client.set_registered_model_alias({MODEL!r}, 'champion', '1')",
        f"client.set_model_version_tag({MODEL!r}, '1', 'approved', 'yes')",
        "client.create_registered_model('mine')",
        "client.create_experiment('ledger of mine')",
        "client.rename_experiment(client.create_experiment('mine'), 'ledger of mine')",
        f"e = client.get_experiment_by_name('ledger of {MODEL}'); "
        "client.create_run(e.experiment_id)",
        f"""
import pathlib, tempfile
model = client.get_model_version({MODEL!r}, "1").source.removeprefix("models:/")
folder = pathlib.Path(tempfile.mkdtemp())
(folder / "captioner.py").write_text("print('not what was promoted')")
client.log_model_artifacts(model, str(folder))
""",
    ],
    ids=["alias", "tag", "model", "ledger", "rename", "ledger-entry", "files-of-the-champion"],
)
def test_a_trainer_changes_nothing_that_decides_what_serves(team, promotion, act):
    refused(team.python("ann", act))


def test_trainers_share_what_is_shared_and_nothing_else(team, sweep):
    write = "client.create_run(client.get_experiment_by_name({!r}).experiment_id)"
    done = team.python("al", write.format("shared"))
    assert done.returncode == 0, done.stderr
    refused(team.python("al", write.format("quickstart")))


@pytest.mark.parametrize(
    "act",
    [
        "client.create_experiment('eve')",
        "client.create_registered_model('eve')",
        "client.log_metric(client.search_runs([experiment])[0].info.run_id, 'm', 1.0)",
        "client.log_text(client.search_runs([experiment])[0].info.run_id, 'x', 'x.txt')",
        "client.set_experiment_tag(experiment, 'x', 'x')",
    ],
    ids=["experiment", "model", "metric", "artifact", "tag"],
)
def test_a_viewer_writes_nothing(team, sweep, act):
    named = "experiment = client.get_experiment_by_name('quickstart').experiment_id\n"
    refused(team.python("eve", named + act))


def test_strangers_and_foreign_names_are_kept_out(team):
    search = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert team.status(search) == 401
    assert team.status(search, "eve") == 200
    assert team.status(search, "eve", Host="elsewhere.example") == 403
    assert team.status("/health", Host="elsewhere.example") == 200


def test_a_wrong_password_is_refused_before_anything_is_made(team, sweep):
    done = team.sweeps(
        "ann", "run", "quickstart", f"--set=tracking.uri={team.address}", "--results=elsewhere",
        MLFLOW_TRACKING_PASSWORD="not-the-password",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: MLflow at {team.address} does not know the user 'ann'")
    assert "MLFLOW_TRACKING_PASSWORD" in done.stderr
    assert "not-the-password" not in done.stderr
    assert not (team.folder / "elsewhere").exists()


def test_roles_are_made_again_without_changing_anything(team):
    admin = team.as_user("admin")
    done = team.script("bootstrap_roles.py", "--trainer", "al", **admin)
    assert (done.returncode, done.stdout) == (0, "al is in trainers\n"), done.stderr
    wrong = {**admin, "MLFLOW_TRACKING_PASSWORD": "wrong"}
    done = team.script("bootstrap_roles.py", "--viewer", "new", **wrong)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {team.address}: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_the_script(team, number):
    team.end(number)
    team.start()


def test_a_backup_brings_everything_back(team, promotion, store):
    """Database and bucket are lost; the champion loads afterwards, and a password still counts."""
    assert promotion.returncode == 0
    backup = team.folder / "backup"
    done = team.script("backup.sh", backup)
    assert done.returncode == 0, done.stderr
    again = team.script("backup.sh", backup)
    assert (again.returncode, again.stderr) == (
        1, f"error: {backup} must be a new folder; it is there already\n",
    )  # fmt: skip

    full = team.script("restore.sh", backup)
    assert full.returncode == 1
    assert "must be empty" in full.stderr
    team.end()
    shutil.rmtree(team.folder / "home")
    bucket = store[1].list_objects_v2(Bucket="team")["Contents"]
    assert team.script("postgres.sh", "start").returncode == 0
    taken = team.script("restore.sh", backup)
    assert taken.returncode == 1
    assert "must hold no artifacts" in taken.stderr
    for file in bucket:
        store[1].delete_object(Bucket="team", Key=file["Key"])

    done = team.script("restore.sh", backup)
    assert done.returncode == 0, done.stderr
    assert team.script("postgres.sh", "stop").returncode == 0
    team.start()
    restored = store[1].list_objects_v2(Bucket="team")["Contents"]
    assert {file["Key"] for file in restored} == {file["Key"] for file in bucket}
    assert captions(team) == 1


def captions(team):
    """Caption one image with the champion, as a viewer; return how many captions came."""
    code = f"""
import base64, io, json
from PIL import Image
picture = io.BytesIO()
Image.new("RGB", (32, 32), "red").save(picture, "PNG")
request = {{"image": base64.b64encode(picture.getvalue()).decode(), "max_new_tokens": 8}}
model = mlflow.pyfunc.load_model("models:/{MODEL}@champion")
print(json.dumps(len(model.predict([request]))))
"""
    return printed(team.python("eve", code))


def test_a_damaged_backup_is_not_restored(team, promotion):
    backup = team.folder / "backup"
    dump = backup / "database.dump"
    whole = dump.read_bytes()
    dump.write_bytes(whole[: len(whole) // 2])
    done = team.script("restore.sh", backup)
    dump.write_bytes(whole)
    assert done.returncode != 0
    assert "database.dump: FAILED" in done.stdout


def test_an_upgrade_saves_first_and_wants_the_server_stopped(team, promotion):
    saved = team.folder / "before-upgrade"
    running = team.script("upgrade.sh", saved)
    assert running.returncode == 1
    assert "stop the server first" in running.stderr
    team.end()
    assert team.script("postgres.sh", "start").returncode == 0
    done = team.script("upgrade.sh", saved)
    assert done.returncode == 0, done.stderr
    assert (saved / "database.dump").stat().st_size > 10_000
    assert team.script("postgres.sh", "stop").returncode == 0
    team.start()


def test_garbage_collection_spares_the_champion(team, promotion):
    admin = {key: team.as_user("admin")[key] for key in os.environ.keys() ^ team.as_user("admin")}
    code = """
for run in client.search_runs([client.get_experiment_by_name("quickstart").experiment_id]):
    client.delete_run(run.info.run_id)
"""
    assert team.python("ann", code).returncode == 0
    done = team.script("gc.sh", "0s", **admin)
    assert done.returncode == 0, done.stderr
    assert captions(team) == 1
    delete = 'client.delete_experiment(client.get_experiment_by_name("quickstart").experiment_id)'
    assert team.python("ann", delete).returncode == 0
    done = team.script("gc.sh", "0s", **admin)
    assert done.returncode == 1
    assert f"error: {MODEL} version 1 needs models:/m-" in done.stderr
    assert "its experiment 'quickstart' is deleted; mlflow experiments restore" in done.stderr
