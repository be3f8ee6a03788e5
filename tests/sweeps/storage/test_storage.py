"""Files in an S3 store, and what is said when it cannot be used."""

import socket
from urllib.request import Request, urlopen

import pytest

from sweeps.storage import store as storage_module
from sweeps.storage.store import Storage, StorageError
from workers.files.addresses import is_address


@pytest.fixture
def storage(address):
    return Storage(address, patience=0.0)


def test_an_address_is_told_from_a_folder():
    assert is_address("s3://bucket/prefix")
    assert is_address("gs://bucket")
    assert not any(map(is_address, ("/shared/results", "~/results", "results", "", None)))


def test_what_is_written_is_read_and_listed_below_the_address(storage, client):
    storage.write("sweep-1/word", b"hello")
    assert storage.read("sweep-1/word") == b"hello"
    assert storage.stamp("sweep-1/word").size == 5
    assert list(storage.files()) == ["sweep-1/word"]
    assert list(storage.files("sweep-1")) == ["word"]
    assert storage.names() == ["sweep-1"]
    bucket = storage.address.split("/")[2]
    assert client.get_object(Bucket=bucket, Key="of/a/team/sweep-1/word")["Body"].read() == b"hello"


def test_what_is_not_there_is_no_error(storage, tmp_path):
    assert storage.read("nothing") is None
    assert storage.stamp("nothing") is None
    assert storage.files("nothing") == {}
    assert not storage.get("nothing", tmp_path / "file")
    assert list(tmp_path.glob("file*")) == []
    storage.delete("nothing")


def test_files_go_up_and_come_down_whole(storage, tmp_path):
    given, fetched = tmp_path / "given", tmp_path / "below" / "fetched"
    given.write_bytes(bytes(range(256)) * 50_000)
    storage.put(given, "large")
    assert storage.get("large", fetched)
    assert fetched.read_bytes() == given.read_bytes()
    given.write_bytes(b"")
    storage.put(given, "large")
    assert storage.get("large", fetched)
    assert fetched.read_bytes() == b""
    assert [path.name for path in fetched.parent.iterdir()] == ["fetched"]


def test_a_folder_is_removed_with_all_below_it_and_nothing_else(storage):
    for key in ("a/1", "a/b/2", "ab"):
        storage.write(key, b"x")
    storage.delete("a")
    assert list(storage.files()) == ["ab"]


def test_a_bucket_that_is_not_there_is_named_with_the_node(keys):
    missing = Storage("s3://no-such-bucket/prefix", patience=0.0)
    expected = (
        f"storage: {socket.gethostname()} cannot use s3://no-such-bucket/prefix: "
        "there is no such bucket"
    )
    with pytest.raises(StorageError, match=expected):
        missing.check()
    with pytest.raises(StorageError, match=expected):
        missing.write("key", b"x")


def test_a_store_that_does_not_answer_is_named_with_its_endpoint(keys, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(StorageError, match=r"nothing answers at http://127.0.0.1:\d+ \(AWS_"):
            Storage("s3://away/prefix", patience=0.0).check()


def test_a_store_that_comes_back_in_time_is_asked_again(storage, monkeypatch):
    opened, failures = storage_module.opened, [OSError("AWS Error NETWORK_CONNECTION")]

    def away_once(address):
        if failures:
            raise failures.pop()
        return opened(address)

    monkeypatch.setattr(storage_module, "opened", away_once)
    monkeypatch.setattr(storage_module, "_PAUSE_SECONDS", 0.0)
    Storage(storage.address, patience=60.0).write("word", b"x")
    assert failures == []
    assert storage.read("word") == b"x"


def test_a_store_that_refuses_says_where_credentials_belong(address, endpoint):
    def guarded(after):
        kind = {"Content-Type": "text/plain"}
        asked = Request(f"{endpoint}/moto-api/reset-auth", data=after.encode(), headers=kind)
        urlopen(asked).close()

    guarded("0")  # from now on the server knows no key
    try:
        with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            Storage(address, patience=0.0).write("word", b"x")
    finally:
        guarded("inf")


def test_other_addresses_are_left_to_fsspec(tmp_path):
    storage = Storage("memory://fsspec/below", patience=0.0)
    storage.write("a/word", b"hello")
    assert storage.read("a/word") == b"hello"
    assert list(storage.files()) == ["a/word"]
    assert storage.get("a/word", tmp_path / "word")
    storage.delete("a")
    assert storage.files() == {}


def test_an_address_that_nobody_can_open_is_refused():
    with pytest.raises(StorageError, match=r"storage: .* cannot use nothing://here: .*fsspec"):
        Storage("nothing://here", patience=0.0).check()
