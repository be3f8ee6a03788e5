"""MLflow's own server, by its own command, serves the captioner."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import NAME, Client, encoded, picture

START_SECONDS = 180


@pytest.fixture(scope="module")
def stock(shop, tmp_path_factory):
    """A client of `mlflow models serve` of version 1."""
    shop.alias(NAME, "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scripts = Path(sys.executable).parent
    log = tmp_path_factory.mktemp("stock") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [scripts / "mlflow", "models", "serve", "-m", f"models:/{NAME}@champion",
             "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)],
            stdout=file, stderr=file, start_new_session=True,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": shop.tracking.address,
                "PATH": f"{scripts}:{os.environ['PATH']}",  # where it looks for uvicorn
            },
        )  # fmt: skip
    try:
        client = Client(port)
        wait_for(client, process, log)
        yield client
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(client, process, log):
    last = time.monotonic() + START_SECONDS
    while True:
        try:
            if client.send("GET", "/ping")[0] == 200:
                return
        except OSError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < last, log.read_text()
        time.sleep(0.5)


@pytest.mark.slow
def test_it_answers_what_the_version_says(stock, shop):
    pictures = [picture("red"), picture("blue")]
    asked = [{"image": encoded(image), "max_new_tokens": 6} for image in pictures]
    assert stock.ask(*asked) == (200, {"predictions": shop.says(NAME, "1", pictures)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("bm90IGFuIGltYWdl", "is not an image"),
        ("!", "in base64, got something else"),
    ],
)
def test_bad_input_is_a_sentence_and_the_server_lives_on(stock, image, said):
    status, answer = stock.ask({"image": image})
    assert status == 400
    assert said in json.dumps(answer)
    assert "Traceback" not in json.dumps(answer)
    assert stock.ask({"image": encoded(picture("red"))})[0] == 200
