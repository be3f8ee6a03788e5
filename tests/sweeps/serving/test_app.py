"""The server as its clients see it: real HTTP, real model."""

import json
import socket
import time

import mlflow
import pytest
from fastapi.testclient import TestClient
from mlflow.pyfunc import scoring_server
from PIL import Image

from sweeps.serving import app, limits

from .conftest import NAME, encoded, picture


def test_captions_are_those_of_the_model_in_order(client, shop):
    images = [picture("red"), picture("navy", (20, 60)), picture("lime")]
    status, said = client.ask(*({"image": encoded(image)} for image in images))
    assert status == 200
    assert said == {"predictions": shop.says(NAME, "1", images)}


def test_the_protocol_is_that_of_mlflows_own_server(client, shop):
    mlflow.set_tracking_uri(shop.tracking.address)
    try:
        stock = TestClient(scoring_server.init(mlflow.pyfunc.load_model(f"models:/{NAME}/1")))
    finally:
        mlflow.set_tracking_uri(None)
    good = json.dumps({"inputs": [{"image": encoded(picture()), "max_new_tokens": 4}]})
    bad = json.dumps({"inputs": [{"image": "?"}]})
    for body in (good, bad):
        other = stock.post("/invocations", content=body, headers={"Content-Type": app.JSON})
        status, said = client.post(body)
        assert status == other.status_code
        assert said == {key: other.json()[key] for key in said}
    for path in ("/ping", "/health", "/version"):
        status, headers, text = client.send("GET", path)
        other = stock.get(path)
        assert status == other.status_code == 200
        assert headers["content-type"] == other.headers["content-type"]
        assert text == other.text


def test_the_length_is_that_of_training_unless_asked_for(client, shop):
    image = picture("green")
    long = client.ask({"image": encoded(image), "max_new_tokens": 12})[1]["predictions"]
    usual = client.ask({"image": encoded(image)})[1]["predictions"]
    assert long == shop.says(NAME, "1", [image], 12)
    assert usual == shop.says(NAME, "1", [image], 6) != long


def test_images_of_all_kinds_are_seen_as_people_see_them(client):
    tall = Image.new("RGB", (20, 60), "red")
    tall.paste("blue", (0, 30, 20, 60))
    rotated, exif = tall.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to look at it
    frames = [picture("red"), picture("blue")]
    same = {
        encoded(tall): encoded(rotated, exif=exif),
        encoded(frames[0]): encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        encoded(picture("white")): encoded(Image.new("CMYK", (40, 30)), "TIFF"),
    }
    plain = client.ask(*({"image": image} for image in same))
    other = client.ask(*({"image": image} for image in same.values()))
    assert plain[0] == 200
    assert other == plain
    assert len(set(plain[1]["predictions"])) == 3


GOOD = {"image": encoded(picture())}
BAD = {
    "no JSON": ("{", "must be JSON such as"),
    "no UTF-8": (b"\xff\xfe{}", "must be JSON such as"),
    "deep JSON": ("[" * 100_000, "must be JSON such as"),
    "a list": ("[]", "must be JSON such as"),
    "another key": ('{"instances": []}', "must be JSON such as"),
    "no list": ('{"inputs": "abc"}', "inputs must be a list of requests, got a string"),
    "no image": ('{"inputs": []}', "from 1 to 64 images, got 0"),
    "1000 images": (json.dumps({"inputs": [GOOD] * 1000}), "from 1 to 64 images, got 1000"),
    "no object": (json.dumps({"inputs": [GOOD, "abc"]}), "inputs[1] must be an object"),
    "unknown": (json.dumps({"inputs": [{"img": "a"}]}), "unknown field 'img'"),
    "neither": ('{"inputs": [{}]}', "must have image (base64), or path"),
    "a number": ('{"inputs": [{"image": 5}]}', "inputs[0].image must be a string, got a number"),
    "tokens": (
        json.dumps({"inputs": [GOOD | {"max_new_tokens": 10**30}]}), "from 1 to 256, got a huge",
    ),
    "bomb": (
        json.dumps({"inputs": [{"image": encoded(Image.new("1", (9000, 9000)))}]}),
        "at most 50000000 pixels, got 9000 x 9000",
    ),
    "question": (json.dumps({"inputs": [GOOD | {"question": "why?"}]}), "asked nothing"),
    "surrogate": (r'{"inputs": [{"path": "\ud800"}]}', "inputs[0].path must be Unicode text"),
    "outside": ('{"inputs": [{"path": "../secret.png"}]}', "in the server's image folder"),
    "absolute": ('{"inputs": [{"path": "/etc/hosts"}]}', "in the server's image folder"),
    "link": ('{"inputs": [{"path": "link.png"}]}', "through no link"),
    "linked folder": ('{"inputs": [{"path": "linked/secret.png"}]}', "through no link"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_sentence_and_the_server_lives_on(client, body, reason):
    status, said = client.post(body)
    assert status == 400
    assert set(said) == {"error_code", "message"}
    assert reason in said["message"]
    assert len(said["message"]) < 300
    assert client.ask(GOOD)[0] == 200


def test_a_path_within_the_folder_is_read(client, shop):
    status, said = client.ask({"path": "sub/blue.png"})
    assert (status, said["predictions"]) == (200, shop.says(NAME, "1", [picture("blue")]))


def test_another_content_type_is_refused(client):
    status, said = client.post("image\n", kind="text/csv")
    assert (status, said["message"]) == (
        415, "the content type must be application/json, got text/csv",
    )  # fmt: skip


def test_a_body_of_50_mb_is_refused_and_not_kept(client):
    status, said = client.post(b"x" * 50_000_000)
    assert status == 413
    assert said["message"].startswith(f"the request must have at most {limits.MAX_BODY} bytes")


def test_a_body_without_a_length_is_limited_as_well(client, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BODY", 1000)
    chunks = (b"x" * 400 for _ in range(5))
    status, _, said = client.send("POST", "/invocations", chunks, {"Content-Type": app.JSON})
    assert (status, said["error_code"]) == (413, "INVALID_PARAMETER_VALUE")


def test_a_client_that_waits_to_be_told_is_told_at_once(client):
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_the_model_says_what_answers(client, shop):
    facts = client.model()
    assert facts["model"] == NAME
    assert facts["version"] == "1"
    assert facts["run_id"] == shop.run.run_id
    assert facts["metrics"] == {"cider": 1.5, "rung": 3.0}
    assert facts["base"] == str(shop.base)
    assert facts["quantization"] == "none"
    assert facts["task"] == "captioning"
    assert facts["failed"] is None


def test_a_path_cannot_write_lines_of_its_own_into_the_log(client, caplog):
    path = "/%0a127.0.0.1%20POST%20/invocations%20200"
    with caplog.at_level("INFO"):
        assert client.send("GET", path)[0] == 404
        deadline = time.monotonic() + 10  # the line comes after the answer
        while not any(f"GET {path} 404" in line for line in caplog.messages):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_the_page_needs_nothing_from_elsewhere(client):
    status, headers, page = client.send("GET", "/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "http://" not in page
    assert "https://" not in page


def test_a_failure_of_the_model_is_a_sentence_too(client, served, monkeypatch):
    with served[1].lease() as version:
        family = version.captioner.base.family

    def broken(base, image, prompt):
        raise RuntimeError("out of memory at 0x1234")

    monkeypatch.setattr(family, "prompt_tokens", broken)
    status, said = client.ask(GOOD)
    assert status == 500
    assert said["message"] == "the model failed on this request (RuntimeError); see the log"
