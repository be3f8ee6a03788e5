"""What a client may take of the server, and that nothing goes on for one who left."""

import json
import logging
import socket
import threading
import time
from contextlib import suppress

import pytest
from PIL import Image

from sweeps.serving import answers, app, limits, server
from sweeps.serving.decoders import FEW

from .conftest import NAME, busy, encoded, picture, serving

GOOD = {"image": encoded(picture())}
BODY = json.dumps({"inputs": [GOOD]}).encode()
HEADERS = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def strict(shop):
    """A server with limits that a test reaches."""
    shop.alias(NAME, "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "IMAGES", 40)
        patch.setattr(app, "SECONDS", 1.0)
        patch.setattr(limits, "HELD", 40_000)
        patch.setattr(limits, "CHEAP", 2_000)
        patch.setattr(limits, "FIRST", 0.3)
        patch.setattr(limits, "RATE", 1_000_000)
        patch.setattr(server, "HEADERS", 0.3)
        patch.setattr(server, "MAX_CONNECTIONS", 20)
        patch.setattr(server, "DRAIN", 0.5)
        with serving(shop) as running:
            yield running[0]


@pytest.fixture(autouse=True)
def no_traceback(caplog):
    yield
    assert [record for record in caplog.records if record.exc_info] == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def connected(client, sent=b""):
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=10)
    connection.sendall(sent)
    return connection


def is_closed(connection):
    """Whether the server ended it."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def call(body=BODY, length=None):
    return HEADERS + b"Content-Length: %d\r\n\r\n" % (length or len(body)) + body


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_headers_that_do_not_come_end_the_connection(strict):
    for sent in (b"", HEADERS, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"):
        with connected(strict, sent) as connection:
            while connection.recv(1000):
                pass


def test_a_body_that_does_not_come_is_given_up(strict):
    with connected(strict, call(b"{", length=1000)) as connection:
        said = connection.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 408")
    assert b"the body must come with at least 1000000 bytes a second" in said


def test_a_body_in_tiny_chunks_ends_the_connection(strict):
    head = HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"
    with connected(strict, head) as connection, suppress(ConnectionError):
        connection.sendall(b"1\r\n \r\n" * 1000)
        assert connection.recv(100) == b""
    with connected(strict, head) as connection:
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_calls_count_only_once_their_bodies_are_there(strict):
    slow = [connected(strict, call(b"{", length=1000)) for _ in range(8)]
    assert strict.ask(GOOD)[0] == 200
    for connection in slow:  # they leave in the middle of their bodies
        connection.close()
    assert strict.ask(GOOD)[0] == 200


def test_one_connection_too_many_ends_the_one_that_waited_longest(strict):
    opened = [connected(strict, call(b"{", length=1000))]
    time.sleep(0.05)
    opened += [connected(strict) for _ in range(server.MAX_CONNECTIONS - 1)]
    assert strict.ask(GOOD)[0] == 200
    opened[0].settimeout(0.1)
    assert opened[0].recv(10) == b""
    for connection in opened:
        connection.close()


def test_connections_that_come_all_at_once_are_not_more(strict, monkeypatch):
    monkeypatch.setattr(server, "HEADERS", 30)
    opened, come = [connected(strict)], threading.Event()
    until(lambda: len(strict.server.server_state.connections) == 1)
    [first] = strict.server.server_state.connections
    first.loop.call_soon_threadsafe(come.wait, 30)
    opened += [connected(strict) for _ in range(3 * server.MAX_CONNECTIONS - 1)]
    come.set()
    until(lambda: sum(map(is_closed, opened)) == 2 * server.MAX_CONNECTIONS)
    assert strict.ask(GOOD)[0] == 200
    for connection in opened:
        connection.close()


def test_bodies_that_fill_the_memory_make_room_for_others(strict):
    large = json.dumps({"inputs": [GOOD], "more": "x" * 20_000}).encode()
    slow = connected(strict, call(large[:-1], length=len(large)))
    time.sleep(0.05)
    status, said = strict.post(large)
    assert (status, said["message"][:24]) == (400, "the request must be JSON")
    assert slow.makefile("rb").read().startswith(b"HTTP/1.1 408")
    status, said = strict.post(large * 2)
    assert (status, said["message"]) == (503, "too many bytes at once; come again in a second")


def test_a_large_call_beyond_the_limit_comes_again_and_small_ones_need_not(strict, monkeypatch):
    monkeypatch.setattr(app, "SECONDS", 30.0)
    large = json.dumps({"inputs": [GOOD] * 11}).encode()
    with busy(strict.batcher):
        waiting = [connected(strict, call(large)) for _ in range(2)]
        until(lambda: len(strict.batcher.waiting) == 22)
        status, headers, said = strict.send(
            "POST", "/invocations", large, {"Content-Type": app.JSON}
        )
        waiting += [connected(strict, call()) for _ in range(40 - 22)]
        until(lambda: len(strict.batcher.waiting) == 40)
    assert (status, headers["retry-after"]) == (503, "1")
    assert said["error_code"] == "TEMPORARILY_UNAVAILABLE"
    assert said["message"] == "too many images at once; come again in a second"
    for connection in waiting:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()


def test_nothing_is_written_for_a_client_that_left(strict):
    until(lambda: strict.ask(GOOD)[0] == 200)
    before = strict.batcher.images
    with busy(strict.batcher):
        with connected(strict, call(json.dumps({"inputs": [GOOD] * 20}).encode())):
            until(lambda: len(strict.batcher.waiting) == 20)
        until(lambda: all(image.caption.cancelled() for image in strict.batcher.waiting))
    assert strict.ask(GOOD)[0] == 200
    assert strict.batcher.images == before + 1
    until(lambda: strict.batcher.held == 0)


def test_many_small_images_are_prepared_only_where_there_is_room(strict, monkeypatch):
    until(lambda: strict.batcher.held == 0)
    monkeypatch.setattr(app, "SECONDS", 30.0)
    monkeypatch.setattr(answers, "QUEUED", 0)
    monkeypatch.setattr(answers, "LARGE", 0)
    many = json.dumps({"inputs": [GOOD] * (FEW + 1)}).encode()
    with busy(strict.batcher):
        connection = connected(strict, call(many))
        until(lambda: strict.batcher.waiting)
        time.sleep(0.05)
        assert len(strict.batcher.waiting) == 1
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    connection.close()


def test_that_a_client_left_is_seen_also_when_it_had_sent_more(strict, monkeypatch):
    monkeypatch.setattr(app, "SECONDS", 30.0)
    until(lambda: strict.batcher.held == 0)
    with busy(strict.batcher):
        with connected(strict, call()) as connection:
            until(lambda: strict.batcher.waiting)
            connection.sendall(b"G")
            time.sleep(0.05)
        until(lambda: strict.batcher.waiting[0].caption.cancelled())


def test_what_comes_before_the_answer_is_limited(strict):
    with busy(strict.batcher), connected(strict, call()) as connection:
        until(lambda: strict.batcher.waiting)
        with suppress(ConnectionError):
            connection.sendall(b"x" * (server.AHEAD + 1))
        until(lambda: is_closed(connection))
        until(lambda: strict.batcher.waiting[0].caption.cancelled())


def test_requests_may_come_one_behind_the_other(strict):
    with connected(strict, call() * 3) as connection:
        said = b""
        while said.count(b"HTTP/1.1 200") < 3 or not said.endswith(b"}"):
            said += connection.recv(1000)
    assert said.count(b"predictions") == 3


def test_a_call_that_takes_too_long_is_given_up(strict):
    with busy(strict.batcher):
        status, said = strict.ask(GOOD)
    assert (status, said["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert said["message"] == "the call was given up after 1 seconds; send fewer images"


def test_pixels_of_a_call_are_limited_before_any_is_decoded(strict):
    large = {"image": encoded(Image.new("1", (7000, 7000)))}
    status, said = strict.ask(large, large, large)
    assert status == 400
    assert "at most 100000000 pixels in all, got 147000000; send fewer" in said["message"]


def test_the_end_waits_for_no_call_that_hangs(shop, monkeypatch):
    monkeypatch.setattr(limits, "FIRST", 10)
    monkeypatch.setattr(server, "DRAIN", 0.3)
    with serving(shop) as (client, _), busy(client.batcher):
        waiting = connected(client, call())
        half = connected(client, call(b"{", length=1000))
        until(lambda: client.batcher.waiting)
        client.server.should_exit = True
        for connection in (waiting, half):
            said = connection.makefile("rb").read()
            assert said.startswith(b"HTTP/1.1 503")
            assert b"the server was asked to end" in said
