"""What is refused before anything is sent, and what would be sent."""

import json
import shlex
import sys
import zipfile
from pathlib import Path

import pytest
import ray

from sweeps.cli import app
from sweeps.jobs import parcel as parcels
from sweeps.jobs.outgoing import collect_files
from sweeps.jobs.parcel import pack
from sweeps.jobs.submit import (
    JobRequest,
    Options,
    job_request,
    job_variables,
    missing_secrets,
    stock_line,
)

VERSION = (200, {"version": "4", "ray_version": ray.__version__})
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that calls the command: arguments -> exit code, output, errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sweeps", *arguments])
        with pytest.raises(SystemExit) as end:
            app.main()
        return (end.value.code, *capsys.readouterr())

    return call


def options(**changes):
    return Options(**{"address": NOWHERE, "results": "/shared/results", **changes})


def requested(sweep, **changes):
    return job_request(sweep, options(**changes), pack(sweep, collect_files(sweep)))


def jobs(*made):
    """Return what a server answers that has these jobs: (id, status, metadata)."""
    listed = [
        {"type": "SUBMISSION", "submission_id": name, "status": status, "entrypoint": "run",
         "start_time": 1000, "end_time": None, "metadata": metadata}
        for name, status, metadata in made
    ]  # fmt: skip
    return {"/api/version": VERSION, "/api/jobs/": (200, listed)}


def test_a_broken_file_is_told_before_the_cluster_is_asked(command, folder):
    (folder / "mine.yaml").write_text("name: shapes\ndata: {source: shapez}\n")
    code, out, err = command("submit", "mine.yaml", "--address", NOWHERE)
    assert (code, out) == (2, "")
    assert "did you mean shapes" in err
    assert "nothing was started" in err
    assert "cluster" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--results", "here"], "--results must be an absolute folder"),
        (["--idempotency-key", "a/b"], "--idempotency-key must be up to 64 letters"),
        (["--env", "HF_TOKEN=hush"], "--env HF_TOKEN must not be a secret"),
        (
            ["--archive", "none/sent.zip"],
            "--archive must be a file *.zip in a folder that is there",
        ),
        (["--archive", "sent.tar"], "--archive must be a file *.zip in a folder that is there"),
        (["--address", "ray://head:10001"], "--address must be that of the cluster's dashboard"),
        ([], "no Ray cluster at"),
    ],
)
def test_what_cannot_be_submitted_is_one_sentence(command, folder, arguments, said):
    code, out, err = command("submit", "quickstart", "--address", NOWHERE, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


OTHER = (200, {"version": "4", "ray_version": "2.9.3"})


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"/api/version": OTHER}, "runs Ray 2.9.3, and this machine has Ray"),
        ({"/api/version": VERSION, "/api/jobs/": (401, "")}, "asks for a token, and there is none"),
    ],
)
def test_a_cluster_that_does_not_fit_is_one_sentence(
    command, folder, server, no_token, answers, said
):
    address = server(answers)
    code, out, err = command("submit", "quickstart", "--address", address)
    assert (code, out) == (2, "")
    assert err.startswith("error: the ")
    assert f"cluster at {address} " in err
    assert said in err
    assert err.count("\n") == 1


def test_a_package_over_the_limit_is_one_sentence_with_its_largest_file(
    command, folder, monkeypatch
):
    monkeypatch.setattr(parcels, "MOST_BYTES", 1000)
    (folder / "base").mkdir()
    (folder / "base" / "model.safetensors").write_bytes(bytes(2000))
    words = ["submit", "quickstart", "--set", "model.base=base", "--address", NOWHERE]
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert "the largest: base/model.safetensors" in err
    assert "Put the data on storage that all nodes see" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["jobs", "logs", "stop"])
def test_the_other_commands_say_so_too(command, name):
    words = [name, *(["some-1"] if name != "jobs" else []), "--address", NOWHERE]
    code, _, err = command(*words)
    assert code == 2
    assert err.startswith(f"error: no Ray cluster at {NOWHERE}")


def test_jobs_are_listed_with_their_states(command, server):
    meta = {"sweep": "shapes", "results": "/shared/results"}
    address = server(jobs(("shapes-a", "RUNNING", meta)))
    code, out, _ = command("jobs", "--address", address)
    assert code == 0
    heads, row = out.splitlines()
    assert heads.split() == ["job", "state", "submitted", "time", "results"]
    assert (row.split()[:2], row.split()[-1]) == (["shapes-a", "running"], "/shared/results")


def test_there_is_nothing_to_stop_in_a_job_that_has_ended(command, server):
    address = server(jobs(("shapes-a", "FAILED", {"sweep": "shapes"})))
    code, out, err = command("stop", "shapes-a", "--address", address)
    assert (code, out) == (2, "")
    assert err == "error: shapes-a has ended (failed): there is nothing to stop\n"


def test_a_trial_of_a_job_is_stopped_on_the_head(command, server):
    address = server(jobs(("shapes-a", "RUNNING", {"sweep": "shapes"})))
    code, _, err = command("stop", "shapes-a", "trial-001", "--address", address)
    assert code == 2
    assert "on the head node: sweeps stop SWEEP trial-001 --results" in err


def test_the_log_of_a_job_that_is_not_there_is_refused_with_those_that_are(command, server):
    address = server(jobs(("shapes-a", "RUNNING", {"sweep": "shapes"})))
    code, _, err = command("logs", "shapes-b", "--address", address)
    assert code == 2
    assert f"no submitted sweep 'shapes-b' at {address}; there are shapes-a" in err


def test_a_second_sweep_of_the_name_is_refused_while_the_first_runs(command, server, folder):
    address = server(jobs(("quickstart-a", "PENDING", {"sweep": "quickstart"})))
    code, out, err = command("submit", "quickstart", "--address", address)
    assert (code, out) == (2, "")
    assert f"a sweep called quickstart runs at {address} as quickstart-a" in err
    assert "sweeps logs quickstart-a --follow" in err
    assert "--idempotency-key KEY" in err


def test_a_key_that_was_used_for_another_sweep_is_refused(command, server, folder):
    meta = {"sweep": "quickstart", "digest": "another"}
    address = server(jobs(("quickstart-k", "RUNNING", meta)))
    words = ["submit", "quickstart", "--address", address, "--idempotency-key", "k"]
    code, _, err = command(*words)
    assert code == 2
    assert "quickstart-k was submitted with another file, data or options" in err


def test_the_same_key_finds_the_same_job(command, server, folder, sweep):
    from sweeps.spec.load import read

    same = requested(read("quickstart", ()), key="k")
    address = server(jobs((same.job_id, "RUNNING", dict(same.metadata))))
    code, out, _ = command(
        "submit", "quickstart", "--address", address, "--idempotency-key", "k",
        "--results", "/shared/results", "--no-wait",
    )  # fmt: skip
    assert (code, out) == (0, "quickstart-k was submitted before and is running\n")


def test_what_differs_is_another_submission(sweep, folder):
    def digest(*overrides, **changes):
        return requested(sweep(*overrides), **changes).metadata["digest"]

    first = digest()
    assert digest() == first
    others = [digest("train.epochs=4"), digest(results="/other"), digest(go_on=True),
              digest(env=["A=b"])]  # fmt: skip
    assert len({first, *others}) == 5


def test_the_request_holds_what_followers_need_and_no_secret(sweep, folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush")
    monkeypatch.setenv("HF_TOKEN", "hush")
    request = requested(sweep(), key="k")
    assert request.job_id == "shapes-k"
    assert set(request.metadata) == {"sweep", "digest", "results"}
    assert (request.metadata["sweep"], request.metadata["results"]) == ("shapes", "/shared/results")
    assert request.variables == {"RAY_JOB_STOP_WAIT_TIME_S": "30"}
    assert "hush" not in repr(request)


def test_the_line_for_ray_alone_reads_back():
    request = JobRequest(
        job_id="shapes-k", command=("python", "-m", "x", "--results", "/my results"),
        variables={"A": "it's"}, metadata={"sweep": "shapes"},
    )  # fmt: skip
    words = shlex.split(stock_line("http://head:8265", request, Path("/a b.zip")))
    assert words[:5] == ["ray", "job", "submit", "--address", "http://head:8265"]
    assert json.loads(words[6]) == {"working_dir": "/a b.zip", "env_vars": {"A": "it's"}}
    assert json.loads(words[8]) == request.metadata
    assert words[9:] == ["--", *request.command]


TABLED = ("--set", "data.source=csv", "--set", "data.limit=null", "--set", "data.path=captions.csv",
          "--address", NOWHERE)  # fmt: skip


def test_a_dry_run_lists_what_is_sent_and_what_stays_and_writes_nothing(command, tabled, fill):
    tabled("a.png", "prod.env", "gone.png")
    fill("a.png", "notes.txt", ".aws/credentials", "id_ed25519", "prod.env", "more/b.png")
    fill(".sweepsignore", text="!/prod.env\n")
    words = ("submit", "quickstart", *TABLED, "--set", "data.on_bad_sample=skip", "--dry-run")
    code, out, err = command(*words)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "would send the sweep file and 3 files, 0.0 MB",
        "      1 B  a.png",
        "     56 B  captions.csv",
        "      1 B  prod.env",
        "on purpose, because of `!/prod.env` (.sweepsignore:1): prod.env",
        "skipped, as data.on_bad_sample says: gone.png: no such image in the folder or in images/ "
        "(captions.csv line 4)",
        "stays here, by the rule `.*` (a name that is never sent): .aws/, .sweepsignore",
        "stays here, by the rule `id_ed25519*` (a name that is never sent): id_ed25519",
        "stays here, named by no field and no table: notes.txt, more/b.png",
    ]
    assert not Path("../cache").exists()
    code, out, err = command(*words, "--archive", "sent.zip")
    assert (code, err) == (0, "")
    line = shlex.split(out.partition("the same by Ray alone: ")[2])
    working = json.loads(line[6])["working_dir"]
    assert Path(working) == Path("sent.zip").absolute()
    with zipfile.ZipFile(working) as archive:
        assert len(archive.namelist()) == 4


def test_a_missing_image_is_one_error_and_nothing_is_written(command, tabled, folder):
    tabled("gone.png")
    code, out, err = command("submit", "quickstart", *TABLED)
    assert (code, out) == (2, "")
    assert err.startswith("error: data.path captions.csv has 1 problem:\n  gone.png: no such image")
    assert not Path("../cache").exists()


def test_the_largest_are_shown_before_they_are_sent_and_no_archive_stays(
    command, tabled, fill, server
):
    """The cluster of this test refuses packages: what was shown came first."""
    names = [f"{number:02}.png" for number in range(12)]
    tabled(*names)
    for number, name in enumerate(names):
        fill(name, text="x" * 1000 * number)
    fill("../cache/parcels/left.zip")
    address = server({"/api/version": VERSION, "/api/jobs/": (200, [])})
    code, out, err = command("submit", "quickstart", *TABLED, "--address", address)
    assert code == 2
    assert err.startswith(f"error: the cluster at {address}: Request failed")
    lines = out.splitlines()
    assert lines[0] == "sends the sweep file and 13 files, 0.1 MB; the 10 largest:"
    assert [line.split()[-1] for line in lines[1:]] == [*reversed(names[2:])]
    assert [file.name for file in Path("../cache/parcels").iterdir()] == ["left.zip"]


def test_a_name_cannot_write_to_the_terminal(command, tabled, fill):
    name = "a\x1b[2J.png"
    tabled(name)
    fill(name)
    code, out, _ = command("submit", "quickstart", *TABLED, "--dry-run")
    assert code == 0
    assert "'a\\x1b[2J.png'" in out
    assert "\x1b" not in out


def test_a_job_has_time_to_stop_and_what_was_given(sweep):
    own = {"HF_HUB_OFFLINE": "1", "HF_TOKEN": "hush", "HOME": "/somewhere"}
    assert job_variables(["HF_HOME=/shared/hf=1"], own) == {
        "RAY_JOB_STOP_WAIT_TIME_S": "30",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": "/shared/hf=1",
    }


@pytest.mark.parametrize(
    "secret",
    [
        "MLFLOW_TRACKING_PASSWORD=hush",
        "HF_TOKEN=hush",
        "aws_secret_access_key=hush",
        "OPENAI_API_KEY=hush",
        "STUDY=postgresql://me:hush@host/db",
    ],
)
def test_no_secret_is_sent_or_repeated(secret):
    with pytest.raises(ValueError, match="must not be a secret") as said:
        job_variables([secret], {})
    assert "hush" not in str(said.value)


@pytest.mark.parametrize("broken", ["HF_HOME", "=x", "A B=x"])
def test_what_is_no_assignment_is_refused(broken):
    with pytest.raises(ValueError, match="must look like HF_HOME=/shared/hf"):
        job_variables([broken], {})


def test_secrets_that_the_nodes_need_are_named(sweep):
    own = {"MLFLOW_TRACKING_PASSWORD": "hush", "HF_TOKEN": "hush"}
    plain = sweep()
    assert missing_secrets(plain, {}) == []
    assert missing_secrets(plain, own) == ["HF_TOKEN"]
    server = sweep("tracking.uri=https://mlflow.example")
    assert missing_secrets(server, own) == ["MLFLOW_TRACKING_PASSWORD", "HF_TOKEN"]
    shared = sweep("search.storage=postgresql://me:${STUDY_PASSWORD}@host/db")
    assert missing_secrets(shared, {}) == ["STUDY_PASSWORD"]
