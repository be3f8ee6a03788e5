"""Requests per second of `sweeps serve` and of stock `mlflow models serve`, side by side.

    sweeps run quickstart                           # registers quickstart-captioner
    sweeps promote quickstart-1/trial-013           # a second version, even if it is refused
    python -m benchmarks.serving [--results sweep-results]

Both servers answer the same eight clients, one after the other and in turns, each as its command
starts it; then the alias of the first moves to and fro under load. The clients run in a process of
their own, on the same machine.
"""

import argparse
import base64
import http.client
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from sweeps import names
from sweeps.tracking.client import Tracking
from workers.data import load
from workers.recipe import Data

NAME = "quickstart-captioner"
CLIENTS, REQUESTS, ROUNDS = 8, 60, 3
MOVES = 10
SWEEPS = "import sys; from sweeps.cli.app import main; sys.argv[0] = 'sweeps'; main()"
MLFLOW = "import sys; from mlflow.cli import cli; sys.argv[0] = 'mlflow'; cli()"


def bodies() -> list[bytes]:
    """Return one request per image of the quick start's test images."""
    found = []
    for sample in load(Data(source="shapes", limit=192)).splits["test"]:
        file = io.BytesIO()
        sample.open().save(file, "PNG")
        request = {"image": base64.b64encode(file.getvalue()).decode(), "max_new_tokens": 16}
        found.append(json.dumps({"inputs": [request]}).encode())
    return found


def client(port: int, requests: list[bytes], go_on: Callable[[int], bool]) -> list[float]:
    """Send requests over one connection; return the milliseconds of each. Raises on a failure."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took: list[float] = []
    while go_on(len(took)):
        started = time.perf_counter()
        body = requests[len(took) % len(requests)]
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said[:300]!r}")
        took.append((time.perf_counter() - started) * 1000)
    connection.close()
    return took


def measured(port: int, requests: list[bytes], go_on: Callable[[int], bool]) -> dict[str, float]:
    """Return what `CLIENTS` at once saw."""
    took: list[float] = []
    failures: list[str] = []

    def run(number: int) -> None:
        try:
            took.extend(client(port, requests[number:] + requests[:number], go_on))
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return {
        "answers": len(took), "failures": len(failures), "per second": len(took) / seconds,
        "median ms": statistics.median(took), "p95 ms": statistics.quantiles(took, n=20)[-1],
    }  # fmt: skip


@contextmanager
def server(code: str, *arguments: str, uri: str) -> Iterator[tuple[int, psutil.Process]]:
    """Give the port and the process of a server that answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bin_folder = str(Path(sys.executable).parent)  # mlflow looks for uvicorn there
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true",
             "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    try:
        wait_for(port)
        yield port, psutil.Process(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and of those that it started."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def wait_for(port: int) -> None:
    """Return when a server answers; raises TimeoutError after two minutes."""
    for _ in range(240):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"no server on port {port}")


def moving(port: int, requests: list[bytes], tracking: Tracking) -> dict[str, float]:
    """Return what clients saw while the alias moved `MOVES` times between two versions."""
    registry, ended = tracking.client(), threading.Event()
    found = registry.search_model_versions(names.equals("name", NAME))
    versions = [str(each.version) for each in found]
    served = registry.get_model_version_by_alias(NAME, "champion").version
    other = next(each for each in versions if each != str(served))

    def move() -> None:
        for turn in range(MOVES):
            wanted = str(served) if turn % 2 else other
            registry.set_registered_model_alias(NAME, "champion", wanted)
            while version_at(port) != wanted:
                time.sleep(0.1)
        ended.set()

    mover = threading.Thread(target=move)
    mover.start()
    seen = measured(port, requests, lambda _: not ended.is_set())
    mover.join()
    return seen


def version_at(port: int) -> str:
    """Return the version that answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/model")
    return str(json.loads(connection.getresponse().read())["version"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=Path("sweep-results"))
    tracking = Tracking(uri=None, experiment="", root=parser.parse_args().results.absolute())
    requests, uri = bodies(), tracking.address
    stock = ("models", "serve", "-m", f"models:/{NAME}@champion", "--env-manager", "local")

    def enough(sent: int) -> bool:
        return sent < REQUESTS

    with server(MLFLOW, *stock, uri=uri) as other, server(SWEEPS, "serve", NAME, uri=uri) as own:
        servers = {"mlflow models serve": other, "sweeps serve": own}
        for round_ in range(ROUNDS + 1):  # the first warms up
            for label, (port, process) in servers.items():
                before = cpu_seconds(process)
                seen = measured(port, requests, enough)
                seen["CPU ms"] = (cpu_seconds(process) - before) * 1000 / seen["answers"]
                if round_:
                    print(label, round_, *(f"{key} {value:.0f}" for key, value in seen.items()))
        seen = moving(own[0], requests, tracking)
        print(f"{MOVES} moves:", *(f"{key} {value:.0f}" for key, value in seen.items()))


if __name__ == "__main__":
    main()
