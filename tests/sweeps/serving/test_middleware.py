"""A request must call the server by a name that is its own, and pages of others may not post."""

import asyncio
import socket

import pytest

from sweeps.serving import server
from sweeps.serving.app import HostCheck


def status(check, host, path="/model", method="GET", origin=None):
    """Return the status of the answer to a request that carries these headers."""
    sent = []
    headers = [(b"host", host.encode())] if host is not None else []
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    scope = {"type": "http", "method": method, "path": path, "headers": headers}

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(check(scope, receive, send))
    return sent[0]["status"]


async def answers(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:9000", "127.0.0.2", "[::1]:8000"],
)
def test_loopback_is_known_by_its_names_and_on_forwarded_ports(host):
    assert status(HostCheck(answers, "127.0.0.1"), host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
        "192.0.2.7:8000", "[2001:db8::1]", "[::1", "", None, "localhost:8000@evil.example",
    ],
)  # fmt: skip
def test_another_name_is_refused_where_only_this_machine_can_ask(host):
    check = HostCheck(answers, "127.0.0.1")
    assert status(check, host) == 421
    assert status(check, host, "/invocations", "POST") == 421
    assert status(check, host, "/health") == 200


def test_beyond_loopback_addresses_are_known_and_names_are_not():
    for listened in ("0.0.0.0", "::", "10.1.2.3"):
        check = HostCheck(answers, listened)
        for host in ("10.1.2.3:8000", "[2001:db8::1]:8000", "localhost", socket.gethostname()):
            assert status(check, host) == 200
        assert status(check, "evil.example:8000") == 421


def test_names_are_allowed_one_by_one_or_all():
    check = HostCheck(answers, "0.0.0.0", ["captions.example", "[2001:db8::2]:80"])
    assert status(check, "Captions.Example:443") == 200
    assert status(check, "evil.example") == 421
    assert status(HostCheck(answers, "127.0.0.1", ["2001:db8::2"]), "[2001:db8::2]:8000") == 200
    assert status(HostCheck(answers, "127.0.0.1", ["*"]), "evil.example") == 200
    assert status(HostCheck(answers, "captions.example"), "captions.example:8000") == 200


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://localhost:8000", "localhost:8000", 200),
        ("https://captions.example", "127.0.0.1:8000", 200),  # behind a proxy with TLS
        ("http://localhost:3000", "localhost:8000", 403),
        ("http://evil.example", "localhost:8000", 403),
        ("http://[::1", "localhost:8000", 403),
        ("null", "localhost:8000", 403),
        ("", "localhost:8000", 403),
    ],
)
def test_only_own_pages_may_post(origin, host, expected):
    check = HostCheck(answers, "127.0.0.1", ["captions.example"])
    assert status(check, host, "/invocations", "POST", origin) == expected
    assert status(check, host, "/model", "GET", origin) == 200


def test_a_refusal_is_a_sentence(client):
    code, _, said = client.send("GET", "/model", headers={"Host": "evil.example"})
    assert code == 421
    assert said["message"] == (
        "this server is not known as 'evil.example'; to allow a name, start it with "
        "--allow-host NAME"
    )
    code, _, said = client.send("POST", "/invocations", "{}", {"Origin": "http://evil.example"})
    assert (code, said["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_a_refusal_is_seen_by_a_client_that_still_sends(client, name):
    body = b"x" * 20_000_000
    code, _, _ = client.send("POST", "/invocations", body, {name: "http://evil.example"})
    assert code in (421, 403)


def test_addresses_that_others_reach_are_named():
    with server.listen("0.0.0.0", 0) as listening:
        assert server.addresses(listening).startswith("any address of this machine")
    with server.listen("127.0.0.3", 0) as listening:
        assert server.addresses(listening) == "127.0.0.3"
