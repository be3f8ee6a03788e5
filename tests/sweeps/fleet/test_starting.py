"""How it is told why a host could not start."""

from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from sweeps.fleet import starting
from sweeps.fleet.starting import HostHandle, died, reason


@pytest.fixture
def host():
    calls = []
    actor = SimpleNamespace(
        warm_up=SimpleNamespace(remote=lambda: calls.append("warm up") or len(calls))
    )
    return HostHandle(name="spread-1/host-0", node=None, actor=actor)


def test_an_error_of_the_hosts_own_code_is_told_by_its_cause():
    raised = RayTaskError("warm_up", "Traceback ...", ValueError("data.path must be\na folder"))
    assert not died(raised)
    assert reason(raised) == "a folder"


def test_the_death_of_a_process_is_told_as_such():
    for error in (ActorDiedError(), ActorUnavailableError("socket closed", None)):
        assert died(error)
        assert reason(error).startswith("its process died, or cannot be reached")


def test_a_host_begins_anew_for_a_while_after_its_first_death(host, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(starting.time, "monotonic", lambda: now[0])
    assert host.warming == 1
    assert host.may_restart(60.0)
    host.begin()
    assert host.warming == 2
    now[0] = 159.0
    assert host.may_restart(60.0)
    now[0] = 160.0
    assert not host.may_restart(60.0)
