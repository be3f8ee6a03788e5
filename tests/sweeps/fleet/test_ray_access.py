"""Tokens of Ray clusters, and clusters without: what is said, and that it is true of real ones."""

import subprocess
import sys

import pytest

from benchmarks.clusters import TOKEN, environment, local_cluster
from search_spaces.issues import Issue
from sweeps.doctor import machine
from sweeps.fleet.ray_access import ClusterAccess, answer, exposed, refusal, token
from workers.data.network import is_loopback

FILE = """
name: refused
model: {base: "tiny:shapes"}
data: {source: shapes}
search:
  space: {train.learning_rate: {log_uniform: [1e-3, 1e-2]}}
  objective: {metric: loss}
  trials: 1
resources: {hosts: 99}
"""
VARIABLES = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    """A home folder without token, which is the only place where one could be."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # else what Ray sets would stay
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_token_is_where_ray_looks_for_it(tmp_path):
    assert token({}) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-the-home\n")
    (tmp_path / "named").write_text("of-the-file")
    named = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "named")}
    assert token({}) == "of-the-home"
    assert token(named) == "of-the-file"
    assert token({**named, "RAY_AUTH_TOKEN": "of-the-variable"}) == "of-the-variable"
    assert token({"RAY_AUTH_TOKEN_PATH": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True),
        ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False), ("fe80::1", False), ("head", False), ("127.0.0.1.org", False),
    ],
)  # fmt: skip
def test_what_is_loopback(host, alone):
    assert is_loopback(host) is alone


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "[::1]:6379", "http://localhost:8265"])
def test_an_open_cluster_is_named_where_others_reach_it(address):
    assert exposed(address, ["127.0.0.1", ""]) == ""
    warning = exposed(address, ["10.0.0.7", "fd00::2"])
    assert f"the Ray cluster at {address} asks for no token" in warning
    assert "10.0.0.7, fd00::2" in warning
    assert "\n" not in warning
    assert "reach fd00::2 can" in exposed("[fd00::2]:6379")


def test_why_a_cluster_lets_nobody_in_without_its_token():
    assert "there is none here: copy `.ray/auth_token`" in refusal("head:6379", {})
    off = {"RAY_AUTH_TOKEN": "x", "RAY_AUTH_MODE": "disabled"}
    assert "RAY_AUTH_MODE=disabled keeps it from being sent" in refusal("head:6379", off)
    assert "does not accept the one" in refusal("head:6379", {"RAY_AUTH_TOKEN": "x"})


def called(folder, *arguments, **variables):
    """Return the exit code and the output of a command without any token but the given one."""
    kept = {name: value for name, value in environment().items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", "from sweeps.cli.app import main; main()", *arguments],
        cwd=folder, env={**kept, "HOME": str(folder), "COLUMNS": "400", **variables},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.slow
def test_a_cluster_with_a_token(tmp_path, monkeypatch):
    (tmp_path / "sweep.yaml").write_text(FILE)
    with local_cluster(tmp_path) as cluster:
        mine, other = {"RAY_AUTH_TOKEN": TOKEN}, {"RAY_AUTH_TOKEN": "other"}
        with monkeypatch.context() as within:
            within.setenv("http_proxy", "http://127.0.0.1:9")  # is none for this
            assert answer(cluster.address, mine) is ClusterAccess.ACCEPTED
        for refused in (other, {}, {**mine, "RAY_AUTH_MODE": "disabled"}):
            assert answer(cluster.address, refused) is ClusterAccess.REFUSED
        assert answer(cluster.dashboard.removeprefix("http://"), mine) is ClusterAccess.NONE

        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        found = machine.ray()
        assert (found.severity, "there is none here" in found.message) == ("error", True)
        monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
        assert "does not accept the one that is here" in machine.ray().text
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        assert machine.ray().endswith("token accepted")

        run, at = ("run", "sweep.yaml"), {"RAY_ADDRESS": cluster.address}
        for variables, reason in (
            ({}, "asks for a token, and there is none here"),
            ({"RAY_AUTH_TOKEN": "other"}, "does not accept the one that is here"),
            ({"RAY_AUTH_TOKEN": TOKEN, "RAY_AUTH_MODE": "disabled"}, "keeps it from being sent"),
        ):
            code, output = called(tmp_path, *run, **at, **variables)
            assert (code, reason in output, "Traceback" in output) == (2, True, False), output
            jobs = called(tmp_path, "jobs", "--address", cluster.dashboard, **variables)
            assert (jobs[0], reason in jobs[1], "Traceback" in jobs[1]) == (2, True, False), jobs
        assert not list(tmp_path.glob("sweep-results/refused-*"))

        # The token alone is enough: nothing says that it is to be sent.
        (tmp_path / ".ray").mkdir()
        file = tmp_path / ".ray" / "auth_token"
        file.write_text(TOKEN)
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        for mode, is_warning in ((0o644, True), (0o600, False)):
            file.chmod(mode)
            assert isinstance(machine.ray(), Issue) == is_warning
        code, output = called(tmp_path, *run, **at)
        assert (code, "resources.hosts" in output) == (2, True), output
        assert "asks for no token" not in output
        assert called(tmp_path, "jobs", "--address", cluster.dashboard)[0] == 0


@pytest.mark.slow
def test_an_open_cluster_is_named(tmp_path):
    (tmp_path / "sweep.yaml").write_text(FILE)
    with local_cluster(tmp_path, RAY_AUTH_MODE="disabled") as cluster:
        for own in ({}, {"RAY_AUTH_TOKEN": "not-of-this-cluster"}):
            assert answer(cluster.address, own) is ClusterAccess.OPEN
        code, output = called(tmp_path, "run", "sweep.yaml", RAY_ADDRESS=cluster.address, **own)
        assert (code, "resources.hosts" in output) == (2, True), output
        assert len([line for line in output.splitlines() if "asks for no token" in line]) == 1
        _, output = called(tmp_path, "doctor", RAY_ADDRESS=cluster.address)
        (line,) = [line for line in output.splitlines() if "asks for no token" in line]
        assert line.startswith("warning")
