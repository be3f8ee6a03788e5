"""A node's copy of what lies in an S3 store, fetched once and repaired when it is broken."""

import secrets
from pathlib import Path

import pytest
from PIL import Image

from workers.data import load
from workers.files import cache, fetched
from workers.files.addresses import opened
from workers.models import checkpoint_files
from workers.models.loading import resolve
from workers.recipe import Data


@pytest.fixture(scope="module")
def endpoint():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def put(monkeypatch, endpoint, tmp_path):
    """Return a function that puts a file into a new bucket, and the address of its folder."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    client, bucket = boto3.client("s3", endpoint_url=endpoint), f"data-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)

    def put_file(name, content):
        client.put_object(Bucket=bucket, Key=f"sets/one/{name}", Body=content)

    put_file.address = f"s3://{bucket}/sets/one"
    put_file.delete = lambda name: client.delete_object(Bucket=bucket, Key=f"sets/one/{name}")
    return put_file


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def there(put):
    return Path(fetched.local(put.address, "data.path"))


def test_paths_and_hub_names_are_left_alone():
    for place in ("/data/set", "~/set", "org/name", "tiny:shapes"):
        assert fetched.local(place, "data.path") == place
    assert fetched.is_here("org/name") is None


def test_a_folder_is_fetched_once(put, monkeypatch):
    put("captions.csv", b"a")
    put("images/a.png", b"bc")
    assert fetched.is_here(put.address) is None
    folder = there(put)
    assert names(folder) == ["captions.csv", "images/a.png"]
    assert (folder / "images/a.png").read_bytes() == b"bc"
    assert fetched.is_here(put.address) == folder
    monkeypatch.setattr(fetched, "_copy", None)  # would be called
    assert there(put) == folder


def test_what_is_broken_missing_changed_or_gone_is_repaired(put, monkeypatch):
    for name in ("cut", "missing", "changed", "gone", "same"):
        put(name, b"first")
    folder = there(put)
    (folder / "cut").write_bytes(b"fir")
    (folder / "missing").unlink()
    put("changed", b"later on")
    put("new", b"x")
    put.delete("gone")
    copied, copy = [], fetched._copy
    monkeypatch.setattr(
        fetched, "_copy", lambda files, source, file: (copied.append(file.name),
                                                       copy(files, source, file))
    )  # fmt: skip
    assert there(put) == folder
    assert sorted(copied) == ["changed", "cut", "missing", "new"]
    assert names(folder) == ["changed", "cut", "missing", "new", "same"]
    assert (folder / "changed").read_bytes() == b"later on"


def test_an_address_of_one_file_is_that_file(put):
    put("table.csv", b"image,caption\n")
    found = Path(fetched.local(f"{put.address}/table.csv", "data.path"))
    assert found.name == "table.csv"
    assert found.read_bytes() == b"image,caption\n"


def test_a_folder_of_one_file_is_a_folder(put):
    put("table.csv", b"image,caption\n")
    assert names(there(put)) == ["table.csv"]


def test_what_is_whole_here_serves_while_the_store_is_away(put, monkeypatch):
    put("captions.csv", b"a")
    folder = there(put)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    opened.cache_clear()
    assert there(put) == folder
    (folder / "captions.csv").unlink()
    with pytest.raises(ValueError, match=rf"data\.path: {put.address} cannot be fetched"):
        there(put)
    opened.cache_clear()


def test_nothing_there_is_said_with_its_field(put):
    with pytest.raises(ValueError, match=r"model\.base: s3://.* there is nothing at"):
        resolve(put.address)


def test_a_digest_tells_other_files_apart(put):
    put("a", b"1")
    first = fetched.digest(put.address)
    assert fetched.digest(put.address) == first
    put("b", b"1")
    assert fetched.digest(put.address) != first


def test_a_base_in_a_store_is_loaded_from_its_copy(put, untrained_base):
    for name in names(untrained_base):
        put(name, (untrained_base / name).read_bytes())
    assert checkpoint_files.find(put.address, None) is None
    folder = resolve(put.address)
    assert names(untrained_base) == names(Path(folder))
    found = checkpoint_files.find(put.address, None)
    assert found == checkpoint_files.find(str(untrained_base), None)


def test_data_in_a_store_is_loaded_from_its_copy(put, tmp_path):
    for number in range(3):
        file = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
        put(f"images/{number}.png", file.read_bytes())
    rows = "".join(f"images/{number}.png,number {number}\n" for number in range(3))
    put("captions.csv", f"image,caption\n{rows}".encode())
    split = {"train": 0.34, "validation": 0.33, "test": 0.33}
    data = Data.model_validate({"source": "csv", "path": put.address, "split": split})
    samples = [sample for part in load(data).splits.values() for sample in part]
    assert sorted(sample.captions for sample in samples) == [
        ("number 0",), ("number 1",), ("number 2",)
    ]  # fmt: skip
