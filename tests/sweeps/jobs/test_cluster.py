"""What is told of a cluster that cannot be used; the one that can is in test_submitted_sweep."""

import os
import socket
import subprocess
import sys

import pytest
import ray

from sweeps.jobs.cluster import Cluster, ClusterError

VERSION = {"version": "4", "ray_version": ray.__version__}


def refused(address):
    with pytest.raises(ClusterError) as said:
        Cluster.at(address)
    return str(said.value)


def test_nobody_at_the_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = refused(f"127.0.0.1:{port}")
    assert said.startswith(f"no Ray cluster at http://127.0.0.1:{port}: ")
    assert "refused" in said
    assert "ray start --head" in said


@pytest.mark.parametrize("answer", [(404, "no"), (200, "<html>"), (200, {"other": 1}), (200, [])])
def test_another_service_at_the_address(server, answer):
    assert "what answers there is no dashboard of Ray" in refused(server({"/api/version": answer}))


@pytest.mark.parametrize("address", ["ray://head:10001", "auto", "local", ""])
def test_an_address_of_another_kind(address):
    assert refused(address).startswith("--address must be that of the cluster's dashboard")


def test_another_version_of_ray(server):
    address = server({"/api/version": (200, {"version": "4", "ray_version": "2.9.3"})})
    said = refused(address)
    assert f"runs Ray 2.9.3, and this machine has Ray {ray.__version__}" in said
    assert f"install ray=={ray.__version__}" in said


@pytest.mark.parametrize("hidden", [False, True])
def test_a_cluster_that_wants_a_token(server, no_token, hidden):
    """Whether the version is shown to everybody or not."""
    nobody = (401, "Unauthorized: Missing authentication token")
    answers = {"/api/version": nobody if hidden else (200, VERSION), "/api/jobs/": nobody}
    assert "asks for a token, and there is none here" in refused(server(answers))


def test_a_token_that_is_not_here(server, tmp_path):
    """In a process of its own, for Ray reads its settings once."""
    address = server({"/api/version": (200, VERSION)})
    code = f"from sweeps.jobs.cluster import Cluster; Cluster.at({address!r})"
    names = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    env = {**kept, "HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert "asks for a token, and there is none here" in done.stderr


def test_a_token_that_is_wrong(server, no_token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
    other = (403, "Forbidden: Invalid authentication token")
    said = refused(server({"/api/version": (200, VERSION), "/api/jobs/": other}))
    assert "does not accept the one that is here: copy `.ray/auth_token`" in said


def test_a_cluster_that_takes_jobs_from_everybody(server):
    jobs = {"/api/version": (200, VERSION), "/api/jobs/": (200, [])}
    nodes = {"data": {"summary": [{"ip": "127.0.0.1"}, {"ip": "10.0.0.7"}]}}
    assert (
        "reach 10.0.0.7 can"
        in Cluster.at(server({**jobs, "/nodes?view=summary": (200, nodes)})).exposed()
    )
    asks = server({**jobs, "/nodes?view=summary": (401, "Unauthorized")})
    assert Cluster.at(asks).exposed() == ""


def test_what_ray_says_of_a_broken_dashboard_is_one_line(server):
    said = refused(server({"/api/version": (200, VERSION), "/api/jobs/": (500, "oh\nno")}))
    assert "Request failed with status code 500: oh" in said
    assert "\n" not in said


JOB = {
    "type": "SUBMISSION", "submission_id": "shapes-a", "status": "RUNNING", "entrypoint": "run",
    "start_time": 1_000_500, "end_time": None, "metadata": {"sweep": "shapes"},
    "driver_exit_code": None,
}  # fmt: skip


def test_only_sweeps_are_listed_the_newest_first(server):
    later = {**JOB, "submission_id": "shapes-b", "status": "FAILED", "start_time": 2_000_000,
             "end_time": 2_007_000, "driver_exit_code": 2, "message": "why"}  # fmt: skip
    others = [{**JOB, "metadata": {}}, {**JOB, "metadata": None}, {**JOB, "submission_id": None}]
    cluster = Cluster.at(
        server({"/api/version": (200, VERSION), "/api/jobs/": (200, [JOB, later, *others])})
    )
    newest, oldest = cluster.jobs()
    assert (newest.id, newest.is_over, newest.code, newest.message) == ("shapes-b", True, 2, "why")
    assert (newest.started, newest.ended) == (2000.0, 2007.0)
    assert (oldest.id, oldest.is_over, oldest.code, oldest.ended) == ("shapes-a", False, None, None)
    assert cluster.job("shapes-a") == oldest
    with pytest.raises(ClusterError, match=r"no submitted sweep 'x' .* shapes-b, shapes-a"):
        cluster.job("x")
