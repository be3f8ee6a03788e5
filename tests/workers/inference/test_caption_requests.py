"""What may be asked of a captioner, and how the rest is refused."""

import base64
import io
import os

import pytest
from PIL import Image

from workers.inference import caption_requests
from workers.inference.caption_requests import (
    CaptionRequest,
    RequestError,
    check,
    measure,
    open_image,
    parse,
    read_within,
)


def encoded(image, form="PNG"):
    file = io.BytesIO()
    image.save(file, form)
    return base64.b64encode(file.getvalue()).decode()


RED = encoded(Image.new("RGB", (4, 3), "red"))


def test_a_good_call_is_parsed():
    first, second = parse([{"image": RED, "max_new_tokens": 5}, {"path": "a.png", "question": "?"}])
    check(first, "first")
    check(second, "second")
    assert (first.image, first.max_new_tokens, first.question) == (RED, 5, None)
    assert (second.path, second.max_new_tokens) == ("a.png", None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"image": RED}, "inputs must be a list of requests, got an object"),
        (None, "got nothing"),
        ([], "from 1 to 64 images, got 0"),
        ([{}] * 65, "from 1 to 64 images, got 65; send the others in further calls"),
        ([{}, 3], r"inputs\[1\] must be an object .* got a number"),
    ],
)
def test_what_is_no_call_is_refused(data, reason):
    with pytest.raises(RequestError, match=reason):
        parse(data)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"image": RED, "beams": 3}, "it has the unknown field 'beams'; there are image, path"),
        ({}, "it must have image"),
        ({"image": RED, "path": "a.png"}, "it must have image"),
        ({"image": ["a"]}, r"it\.image must be a string, got a list"),
        ({"path": True}, r"it\.path must be a string, got true or false"),
        ({"path": "\ud800.png"}, r"it\.path must be Unicode text, got a lone surrogate"),
        ({"image": RED, "question": "\udfff"}, r"it\.question must be Unicode text"),
        ({"image": RED, "question": 1}, r"it\.question must be a string"),
        ({"image": RED, "question": "x" * 2001}, "at most 2000 characters, got 2001"),
        ({"image": RED, "max_new_tokens": "5"}, "must be a whole number, got a string"),
        ({"image": RED, "max_new_tokens": True}, "must be a whole number, got true or false"),
        ({"image": RED, "max_new_tokens": 0}, "must be from 1 to 256, got 0"),
        ({"image": RED, "max_new_tokens": 257}, "must be from 1 to 256, got 257"),
    ],
)
def test_what_is_no_request_is_refused(request_, reason):
    with pytest.raises(RequestError, match=reason):
        check(CaptionRequest.model_validate(request_), "it")


def test_an_image_is_decoded_from_base64_or_a_file(tmp_path):
    Image.new("RGB", (2, 2), "blue").save(tmp_path / "blue.png")
    red = open_image(CaptionRequest(image=RED), "it", None)
    blue = open_image(CaptionRequest(path="blue.png"), "it", tmp_path)
    assert (red.size, red.getpixel((0, 0))) == ((4, 3), (255, 0, 0))
    assert blue.getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"image": "no base64!"}, r"it\.image must be an image file in base64"),
        ({"image": "é"}, r"it\.image must be an image file in base64"),
        ({"image": ""}, "not an image of a known format"),
        ({"image": RED[:60]}, r"it\.image: cannot be decoded|not an image"),
        ({"image": "A" * 28_000_004}, "at most 28000000 characters of base64, got 28000004"),
        ({"image": encoded(Image.new("1", (9000, 9000)))}, "50000000 pixels, got 9000 x 9000"),
        ({"image": encoded(Image.new("1", (20_000, 20_000)))}, "at most 50000000 pixels"),
        ({"image": encoded(Image.new("RGB", (4, 4)), "EPS")}, "not an image of a known format"),
        ({"path": "a.png"}, "this server reads no files"),
    ],
)
def test_what_is_no_image_is_refused(request_, reason):
    with pytest.raises(RequestError, match=reason):
        open_image(CaptionRequest.model_validate(request_), "it", None)


def test_a_request_starts_no_program(eps):
    request = CaptionRequest(image=base64.b64encode(eps.content).decode())
    with pytest.raises(RequestError, match="not an image of a known format"):
        open_image(request, "it", None)
    assert not eps.started.exists()


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(caption_requests, "MAX_BYTES", 10)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(RequestError, match=r"at most 10 bytes .* got 'a.png': too large"):
        open_image(CaptionRequest(path="a.png"), "it", tmp_path)


def test_a_call_is_measured_by_the_headers_of_its_images(tmp_path):
    Image.new("RGB", (20, 30), "blue").save(tmp_path / "blue.png")
    call = [CaptionRequest(image=RED[:60]), CaptionRequest(path="blue.png")]
    assert measure(call, tmp_path) == [12, 600]


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_CALL_PIXELS", 35, "at most 35 pixels in all, got 36; send fewer at a time"),
        ("MAX_CALL_BYTES", 100, "at most 100 bytes in all; send fewer at a time"),
        ("MAX_IMAGES", 2, "from 1 to 2 images, got 3"),
    ],
)
def test_a_call_that_is_too_large_in_all_is_refused(monkeypatch, limit, value, reason):
    monkeypatch.setattr(caption_requests, limit, value)
    with pytest.raises(RequestError, match=reason):
        measure([CaptionRequest(image=RED)] * 3, None)


@pytest.fixture
def folder(tmp_path):
    allowed = tmp_path / "allowed"
    (allowed / "sub").mkdir(parents=True)
    (allowed / "sub" / "a.png").write_bytes(b"inside")
    (tmp_path / "secret.png").write_bytes(b"outside")
    (allowed / "link.png").symlink_to(tmp_path / "secret.png")
    (allowed / "near.png").symlink_to(allowed / "sub" / "a.png")
    (allowed / "out").symlink_to(tmp_path)
    os.mkfifo(allowed / "pipe.png")
    return allowed


def test_a_file_within_is_read(folder):
    assert read_within(folder, "sub/a.png", 6) == b"inside"
    assert read_within(folder, "./sub//a.png", 6) == b"inside"


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "images").symlink_to(folder)
    assert read_within(tmp_path / "images", "sub/a.png", 6) == b"inside"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png", "sub/../../secret.png", "sub/../sub/a.png", "link.png", "near.png",
        "out/secret.png", "sub", "pipe.png", "missing.png", "sub/a.png/b", "", ".", "a\0b",
        "x" * 300,
    ],
)  # fmt: skip
def test_nothing_else_is_reached(folder, path):
    with pytest.raises(OSError):  # noqa: PT011  # each has an errno of its own
        read_within(folder, path, 100)


def test_an_absolute_path_is_refused_even_if_it_lies_within(folder):
    with pytest.raises(PermissionError):
        read_within(folder, str(folder / "sub" / "a.png"), 100)


def test_a_file_above_the_limit_is_refused(folder):
    with pytest.raises(OSError, match="too large"):
        read_within(folder, "sub/a.png", 5)
