import os
import shlex
import signal
import stat
import subprocess
import sys
import time

import pytest

from sweeps.cli import job
from sweeps.jobs import parcel as received
from sweeps.jobs.outgoing import collect_files
from sweeps.jobs.parcel import pack
from sweeps.jobs.submit import Options, job_request
from sweeps.version import installed_version, refuse_other


def test_what_came_along_moves_to_the_results_once(tmp_path):
    source, results = tmp_path / "inputs", tmp_path / "results"
    (source / "shots").mkdir(parents=True)
    (source / "shots/a.png").write_text("x")
    settled = received.store_inputs(source, results, "abc")
    assert settled == results / "inputs/abc"
    assert (settled / "shots/a.png").read_text() == "x"
    (settled / "shots/mark").touch()
    assert received.store_inputs(source, results, "abc") == settled
    assert (settled / "shots/mark").exists()
    assert list((results / "inputs").iterdir()) == [settled]


@pytest.mark.parametrize(("results_mode", "mode"), [(0o755, 0o700), (0o775, 0o770)])
def test_what_came_along_is_for_those_who_may_write_the_results(tmp_path, results_mode, mode):
    source, results = tmp_path / "inputs", tmp_path / "results"
    source.mkdir()
    (source / "a.png").touch(0o600)
    results.mkdir()
    results.chmod(results_mode)
    before = os.umask(0o002)
    try:
        settled = received.store_inputs(source, results, "abc")
    finally:
        os.umask(before)
    assert stat.S_IMODE(settled.parent.stat().st_mode) == mode
    assert stat.S_IMODE((settled / "a.png").stat().st_mode) == 0o664


def test_what_came_along_goes_a_day_after_the_last_sweep_that_names_it(tmp_path):
    results = tmp_path / "results"
    for name in ("named", "gone", "used"):
        source = tmp_path / name
        source.mkdir()
        (source / "a.png").write_text(name)
        folder = received.store_inputs(source, results, name)
        os.utime(folder, (time.time() - 1.1 * received.KEPT_SECONDS,) * 2)
    (results / "shapes-1").mkdir()
    text = f"data: {{source: folder, path: {results}/inputs/named/shots}}"
    (results / "shapes-1" / "sweep.yaml").write_text(text)
    received.store_inputs(tmp_path / "used", results, "used")  # by a driver that begins now
    received.prune_inputs(results)
    assert sorted(path.name for path in (results / "inputs").iterdir()) == ["named", "used"]


def test_a_sweep_that_took_nothing_along_has_a_folder_too(tmp_path):
    settled = received.store_inputs(tmp_path / "none", tmp_path / "results", "abc")
    assert list(settled.iterdir()) == []


@pytest.mark.parametrize(("go_on", "word"), [(True, "--resume"), (False, "--fresh"), (None, "")])
def test_the_command_says_how_to_go_on(sweep, folder, go_on, word):
    options = Options(address="http://head:8265", results="/my results", go_on=go_on)
    content = pack(sweep(), collect_files(sweep()))
    command = job_request(sweep(), options, content).command
    asked = job.parse(shlex.split(shlex.join(command))[3:])
    assert command[:3] == ("python", "-m", "sweeps.cli.job")
    assert (asked.results, asked.inputs, asked.sender) == (
        "/my results",
        content.inputs,
        installed_version(),
    )
    assert asked.go_on == (word.removeprefix("--") or None)


def test_a_driver_of_another_version_begins_nothing(tmp_path):
    """Said in one line: it is all that the sender reads."""
    (tmp_path / "sweep.yaml").write_text("name: shapes\n")
    done = subprocess.run(
        [sys.executable, "-m", "sweeps.cli.job", "--results", str(tmp_path / "results"),
         "--inputs", "abc", "--sender", "0.0.1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    here = installed_version()
    assert done.stderr.startswith(f"error: the head node has caption-sweeps {here}, and the sweep")
    assert not (tmp_path / "results").exists()


def test_a_job_can_be_interrupted_although_ray_blocks_that():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        job.unblock_interrupts()
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_versions_that_nobody_knows_pass():
    refuse_other("", "1.0")
    refuse_other("1.0", "")
    refuse_other("1.0", "1.0")
    with pytest.raises(ValueError, match=r"install caption-sweeps==1\.1 on every node, or 1\.0"):
        refuse_other("1.1", "1.0")


def test_what_the_cluster_does_not_see_is_named_with_its_field(tmp_path, sweep):
    (tmp_path / "table.csv").touch()
    wanted = sweep(
        "data.source=csv", "data.limit=null", f"data.path={tmp_path}/table.csv",
        "data.images=shots", f"model.base={tmp_path}/base",
    )  # fmt: skip
    with pytest.raises(ValueError, match=rf"model\.base: {tmp_path}/base must be on every") as said:
        received.refuse_absent(wanted)
    assert f"data.images: {tmp_path}/shots must be on every node" in str(said.value)
    assert "data.path" not in str(said.value)
    (tmp_path / "shots").mkdir()
    (tmp_path / "base").mkdir()
    received.refuse_absent(wanted)


def test_names_on_the_hub_need_not_be_there(sweep):
    received.refuse_absent(sweep("model.base=someone/some-model"))
