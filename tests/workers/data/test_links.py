import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from tqdm import tqdm

from workers.data.download import Downloader, Rules
from workers.data.links import LinkedImages, is_link
from workers.data.network import LinkRefusedError, is_public, resolve
from workers.data.sample import DataError

RULES = Rules(private=True, attempts=3, pause_seconds=0.001)
HURRIED = replace(RULES, silence_seconds=0.2, total_seconds=0.3)


def png(color: int = 0, size: int = 6) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (size, 4), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/")
        with self.server.lock:
            self.server.asked[name] += 1
        getattr(self, f"do_{name.split('-')[0]}", self.do_missing)(name)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_good(self, name: str) -> None:
        self.answer(200, png(int(name.partition("-")[2] or 0)))

    def do_missing(self, name: str) -> None:
        self.answer(404, b"no")

    def do_busy(self, name: str) -> None:
        status = int(name.split("-")[1])
        self.answer(status if self.server.asked[name] < 3 else 200, png())

    def do_down(self, name: str) -> None:
        self.answer(500)

    def do_page(self, name: str) -> None:
        self.answer(200, b"<html>Sorry</html>")

    def do_eps(self, name: str) -> None:
        self.answer(200, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n")

    def do_large(self, name: str) -> None:
        self.answer(200, bytes(2000))

    def do_endless(self, name: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(50):
            self.wfile.write(b"64\r\n" + bytes(100) + b"\r\n")

    def do_chunked(self, name: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(png()), 10):
            piece = png()[start : start + 10]
            self.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def do_short(self, name: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(png())))
        self.end_headers()
        self.wfile.write(png()[:20])
        self.close_connection = True

    def do_odd(self, name: str) -> None:
        self.answer(200, png(), Content_Length="many")
        self.close_connection = True

    def do_silent(self, name: str) -> None:
        self.server.over.wait(5)

    def do_drip(self, name: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(40):
            if self.server.over.wait(0.05):
                return
            self.wfile.write(b"x")

    def do_redirect(self, name: str) -> None:
        self.answer(302, b"gone", Location=self.server.target)

    def log_message(self, *args: object) -> None:
        return


class Server(ThreadingHTTPServer):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.over = threading.Lock(), threading.Event()
        self.asked: Counter[str] = Counter()
        self.target = ""
        """Where redirects lead."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up, as they are made to do here."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _nothing_asked(server: Server) -> None:
    server.asked.clear()


@pytest.fixture
def site(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def download(link: str, rules: Rules = RULES) -> bytes:
    return Downloader(rules)(link)


@pytest.mark.parametrize("name", ["good", "chunked", "odd", "busy-500", "busy-503", "busy-429"])
def test_a_file_is_downloaded_whole(server: Server, site: str, name: str) -> None:
    assert download(f"{site}/{name}") == png()
    assert server.asked[name] == (3 if name.startswith("busy") else 1)


@pytest.mark.parametrize(
    ("name", "reason", "asked"),
    [
        ("missing", "HTTP 404 Not Found", 1),
        ("busy-403", "HTTP 403 Forbidden", 1),
        ("large", "2000 bytes or more, the limit is 1000", 1),
        ("short", "the connection broke before the end, 2 times", 2),
        ("silent", "no answer within 0.2 s, 2 times", 2),
        ("drip", "not complete within 0.3 s, 2 times", 2),
    ],
)
def test_a_failure_says_why_and_is_tried_again_where_that_helps(
    server: Server, site: str, name: str, reason: str, asked: int
) -> None:
    hurried = name in ("silent", "drip")
    rules = replace(HURRIED if hurried else RULES, attempts=2, max_bytes=1000)
    with pytest.raises(OSError, match=rf"^{reason}$"):
        download(f"{site}/{name}", rules)
    assert server.asked[name] == asked


def test_an_endless_answer_stops_at_the_limit(site: str) -> None:
    with pytest.raises(LinkRefusedError, match="bytes or more, the limit is 1000"):
        download(f"{site}/endless", Rules(private=True, max_bytes=1000))


def test_pauses_grow_from_attempt_to_attempt(site: str) -> None:
    pauses: list[float] = []
    with pytest.raises(OSError, match="HTTP 500"):
        Downloader(Rules(private=True, attempts=3), pauses.append)(f"{site}/down-500")
    assert 1.0 <= pauses[0] <= 1.5
    assert 2.0 <= pauses[1] <= 3.0
    assert len(pauses) == 2


def test_nobody_listening_is_a_failure_in_one_line() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        link = f"http://127.0.0.1:{closed.getsockname()[1]}/a.png"
        with pytest.raises(OSError, match=r"^no connection, 3 times$"):
            download(link)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433"])
def test_private_addresses_are_not_asked(server: Server, host: str) -> None:
    with pytest.raises(OSError, match=r"which is not public; .*data\.allow_private_links: true"):
        download(f"http://{host}:{server.server_port}/good", Rules())
    assert not server.asked


@pytest.mark.parametrize(
    "link",
    ["ftp://example.org/a.png", "file:///etc/passwd", "gopher://x", "http://", "http://a b:c/d"],
)
def test_only_web_links_are_followed(link: str) -> None:
    with pytest.raises(LinkRefusedError, match=r"only http and https links|not a link"):
        download(link)


def test_redirects_are_followed_only_where_allowed(server: Server, site: str) -> None:
    server.target = "/good-7"
    with pytest.raises(
        LinkRefusedError, match=r"redirected to .*/good-7; .*allow_redirected_links"
    ):
        download(f"{site}/redirect")
    allowed = Rules(private=True, redirected=True)
    assert download(f"{site}/redirect", allowed) == png(7)
    server.target = "/redirect"
    with pytest.raises(LinkRefusedError, match="more than 4 redirections"):
        download(f"{site}/redirect", allowed)
    server.target = "http://[broken"
    with pytest.raises(OSError, match="Invalid IPv6 URL"):
        download(f"{site}/redirect", replace(allowed, pause_seconds=0.001))
    server.target = "file:///etc/passwd"
    with pytest.raises(LinkRefusedError, match="only http and https links"):
        download(f"{site}/redirect", allowed)


def test_a_redirect_to_a_private_address_is_refused(
    server: Server, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host is taken for a public one, as a host out there would be."""
    public = {"127.0.0.1"}
    monkeypatch.setattr(
        "workers.data.network.is_public", lambda address: address in public or is_public(address)
    )
    rules = Rules(redirected=True)
    assert download(f"{site}/good", rules) == png()
    server.target = f"http://127.0.0.2:{server.server_port}/good"
    with pytest.raises(LinkRefusedError, match=r"127\.0\.0\.2 has the address .* not public"):
        download(f"{site}/redirect", rules)
    assert server.asked == {"good": 1, "redirect": 1}


def test_the_checked_address_is_the_one_connected_to(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that gives another address when asked again is not asked again."""
    asked = []
    lookup = socket.getaddrinfo

    def rebinding(host: str, port: int, *args: object, **options: object) -> object:
        if host == "rebinding.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.9"
        return lookup(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    link = f"http://rebinding.example:{server.server_port}/good"
    assert download(link) == png()
    assert asked == ["rebinding.example"]


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(0, 0, 0, "", (ip, 80)) for ip in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: answer)
    with pytest.raises(LinkRefusedError, match=r"mixed\.example has the address 10\.0\.0\.1"):
        resolve("mixed.example", 80, private=False)
    assert resolve("mixed.example", 80, private=True) == ["93.184.215.14", "10.0.0.1"]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fetched images are kept; the cache can be moved."""
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path))
    return tmp_path / "images"


def test_an_eps_file_behind_a_link_starts_no_program(
    eps: SimpleNamespace, site: str, kept: Path
) -> None:
    links = LinkedImages(RULES)
    links.fetch([f"{site}/eps"])
    assert "not an image of a known format, but EPS" in links.failures[f"{site}/eps"]
    assert not eps.started.exists()


PUBLIC = """
    8.8.8.8  100.63.0.1  100.128.0.1  172.32.0.1  198.20.0.1  223.255.255.1
    2606:4700::1111  2a00:1450::1  2001:4860::1
    ::ffff:8.8.8.8  64:ff9b::808:808  2002:808:808::1
"""
NOT_PUBLIC = {
    "this network": "0.0.0.0 0.1.2.3 ::",
    "this machine": "127.0.0.1 127.255.0.1 ::1",
    "private": "10.1.2.3 172.16.0.1 172.31.255.1 192.168.1.1 fc00::1 fd00::1",
    "a carrier's": "100.64.0.1 100.127.255.1",
    "the link's": "169.254.169.254 fe80::1 fe80::1%eth0 febf::1",
    "the site's, out of use": "fec0::1 feff::1",
    "services of the own network": "192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170",
    "examples": "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1",
    "benchmarks": "198.18.0.1 198.19.255.1 2001:2::1",
    "of several hosts": "224.0.0.1 239.1.1.1 ff02::1 ff0e::1",
    "kept back": "240.0.0.1 255.255.255.255 4000::1 5f00::1 e000::1 100::1 100:0:0:1::1",
    "IPv4 in IPv6": "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::7f00:1 ::808:808 ::ffff:0:7f00:1",
    "6to4": "2002:7f00:1:: 2002:a00:1:: 2002:a9fe:a9fe::1",
    "Teredo": "2001:0:7f00:1::f7f7:f7f7 2001:0:808:808::f7f7:f7f7 2001:0:808:808::80ff:fffe",
    "NAT64": "64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::808:808 64:ff9b:1::7f00:1",
    "other uses": "2001:10::1 2001:20::1",
}


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_addresses_that_are_not_public(kind: str) -> None:
    assert [address for address in NOT_PUBLIC[kind].split() if is_public(address)] == []


def test_images_are_fetched_once_and_failures_are_named(
    server: Server, site: str, kept: Path
) -> None:
    links = LinkedImages(RULES)
    wanted = [f"{site}/{name}" for name in ("good-1", "good-2", "missing", "page", "good-1")]
    links.fetch(wanted)
    assert links.reader(wanted[1])() == png(2)
    assert links.failures == {
        f"{site}/missing": "HTTP 404 Not Found",
        f"{site}/page": "the answer: not an image of a known format, but HTML; convert it to "
        "AVIF, BMP, GIF, JPEG, JPEG2000, PNG, PPM, TIFF or WEBP",
    }
    with pytest.raises(OSError, match=r"^HTTP 404 Not Found$"):
        links.reader(f"{site}/missing")()
    assert len(list(kept.iterdir())) == 2
    assert server.asked == {"good-1": 1, "good-2": 1, "missing": 1, "page": 1}


def test_an_interrupted_run_continues_where_it_stopped(
    server: Server, site: str, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [f"{site}/good-{number}" for number in range(30)]

    class Interrupting(tqdm):
        def update(self, n: float | None = 1) -> None:
            if len(list(kept.iterdir())) >= 5:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workers.data.links.tqdm", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            LinkedImages(RULES).fetch(wanted)
    before = len(list(kept.iterdir()))
    assert before >= 5
    asked = sum(server.asked.values())
    links = LinkedImages(RULES)
    links.fetch(wanted)
    assert sum(server.asked.values()) == asked + 30 - before
    assert [links.reader(link)() for link in wanted] == [png(number) for number in range(30)]


def test_an_image_removed_from_the_cache_is_reported(site: str, kept: Path) -> None:
    with pytest.raises(OSError, match="not fetched, or removed from"):
        LinkedImages(RULES).reader(f"{site}/good")()


def test_a_cache_that_cannot_be_written_is_reported(site: str, kept: Path) -> None:
    kept.write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be kept: .*; set SWEEPS_CACHE to a folder"):
        LinkedImages(RULES).fetch([f"{site}/good"])


def test_a_link_is_told_from_a_path() -> None:
    assert is_link("HTTPS://example.org/a.png")
    assert not is_link("C:\\photos\\a.png")
