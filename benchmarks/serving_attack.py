"""What an honest client of `sweeps serve` sees while others do their worst.

    sweeps run quickstart                           # registers quickstart-captioner
    python -m benchmarks.serving_attack [--results sweep-results] [--seconds 60]

The honest client asks for one small image after the other: alone, then beside attackers in a
process of their own. At the end the server gets SIGTERM while they go on.
"""

import argparse
import base64
import http.client
import io
import json
import multiprocessing
import random
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.serving import NAME, SWEEPS, bodies, server
from sweeps.tracking.client import Tracking

PAUSE = 0.05
"""Seconds between two calls of the honest client."""
HEADERS = {"Content-Type": "application/json"}


def huge(images: int, pixels: int = 50_000_000) -> bytes:
    """Return a call with PNGs of so many pixels, each a few hundred kilobytes."""
    file = io.BytesIO()
    side = int(pixels**0.5)
    Image.new("RGB", (side, side), "red").save(file, "PNG")
    image = {"image": base64.b64encode(file.getvalue()).decode()}
    return json.dumps({"inputs": [image] * images}).encode()


def leaves(port: int, body: bytes, patience: float) -> str:
    """Send a call and leave after so many seconds; return what came until then."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("POST", "/invocations", body, HEADERS)
        return str(connection.getresponse().status)
    except TimeoutError:
        return "left"
    except (OSError, http.client.HTTPException):
        return "closed"
    finally:
        connection.close()


def slow(port: int, connections: int = 64) -> str:
    """Open connections that send headers and one byte, and hold them for ten seconds."""
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"
    ).encode()
    opened = []
    with suppress(OSError):
        for _ in range(connections):
            opened.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            opened[-1].sendall(head)
    time.sleep(10)
    for connection in opened:
        connection.close()
    return "held"


def attack(port: int, ended: Any, counts: Any) -> None:
    """Run all attackers, each again and again."""
    small = json.loads(bodies()[0])["inputs"][0]
    many = json.dumps({"inputs": [small] * 64}).encode()
    long = json.dumps({"inputs": [small | {"max_new_tokens": 256}] * 11}).encode()
    refused, allowed, noise = huge(64), huge(2), huge(1)
    kinds: dict[str, list[Callable[[], str]]] = {
        "64 of 50 megapixels": [lambda: leaves(port, refused, 3)] * 2,
        "2 of 50 megapixels": [lambda: leaves(port, allowed, 3)] * 2,
        "1 of 50 megapixels": [lambda: leaves(port, noise, random.uniform(0.1, 3))] * 2,
        "64 slow connections": [lambda: slow(port)] * 2,
        "64 small images": [lambda: leaves(port, many, 60)] * 2,
        "11 images of 256 tokens": [lambda: leaves(port, long, 60)] * 64,
    }
    seen: Counter[str] = Counter()

    def again(kind: str, act: Callable[[], str]) -> None:
        while not ended.is_set():
            said = act()
            seen[f"{kind}: {said}"] += 1
            if said != "left":
                time.sleep(0.1)

    for kind, acts in kinds.items():
        for act in acts:
            threading.Thread(target=again, args=(kind, act), daemon=True).start()
    ended.wait()
    counts.put(dict(sorted(seen.items())))


def honest(port: int, requests: list[bytes], seconds: float) -> dict[str, float]:
    """Return what one client sees that asks for so many seconds, in milliseconds."""
    took: list[float] = []
    refused = 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        said = leaves(port, requests[len(took) % len(requests)], 120)
        took.append((time.perf_counter() - started) * 1000)
        refused += said != "200"
        time.sleep(PAUSE)
    return {
        "calls": len(took), "not answered": refused, "median ms": statistics.median(took),
        "p95 ms": statistics.quantiles(took, n=20)[-1], "longest ms": max(took),
    }  # fmt: skip


class Memory(threading.Thread):
    """Looks at the memory of a process and of those that it started."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.peak = 0.0
        """Gigabytes."""

    def run(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                self.peak = max(self.peak, self.now())
                time.sleep(0.05)

    def now(self) -> float:
        total = self._process.memory_info().rss
        for child in self._process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                total += child.memory_info().rss
        return float(total) / 1e9


def shown(values: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.0f}" for key, value in values.items())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=Path("sweep-results"))
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    tracking = Tracking(uri=None, experiment="", root=given.results.absolute())
    spawn = multiprocessing.get_context("spawn")
    ended, counts = spawn.Event(), spawn.Queue()
    with server(SWEEPS, "serve", NAME, uri=tracking.address) as (port, process):
        requests = bodies()
        honest(port, requests, 3)
        memory = Memory(process)
        memory.start()
        time.sleep(1)
        print(f"idle: {memory.peak:.2f} GB")
        print("quiet:", shown(honest(port, requests, given.seconds / 3)), flush=True)
        attackers = spawn.Process(target=attack, args=(port, ended, counts), daemon=True)
        attackers.start()
        time.sleep(8)
        print("attacked:", shown(honest(port, requests, given.seconds)), flush=True)
        print(f"most memory: {memory.peak:.2f} GB", flush=True)
        started = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.wait(180)
        print(f"SIGTERM: ended after {time.perf_counter() - started:.1f} s", flush=True)
        ended.set()
        for kind, number in counts.get(timeout=60).items():
            print(f"  {kind} {number}")


if __name__ == "__main__":
    main()
