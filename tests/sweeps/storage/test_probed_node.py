"""What a node must show of a store before it takes part, without Ray."""

import pytest

from sweeps.fleet.nodes import Node
from sweeps.fleet.probe import Probe, look
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.storage import places
from sweeps.storage.store import StorageError
from workers.files import cache

FAR = Node(id="f" * 8, name="far (10.0.0.7, node ffffffff)", cpus=4, gpus=0, bytes=16e9)
FILE = "name: probed\nmodel: {{base: hub/base}}\ndata: {{source: csv, path: {data}}}\n"


@pytest.fixture
def folder(address):
    return SweepFolder.create(places.working(address, places.DRIVER), "probed")


def asked(probe, folder, address, monkeypatch, tmp_path, paths=()):
    """What another node says, with a cache folder of its own."""
    probe.leave_word()
    with monkeypatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path / "far"))
        return look(places.shown(folder.probes), FAR.id, list(paths), address)


def test_a_node_that_reads_and_writes_there_takes_part(folder, address, monkeypatch, tmp_path):
    probe = Probe(folder, parse(FILE.format(data="hub/data")))
    seen = asked(probe, folder, address, monkeypatch, tmp_path)
    assert probe.judge(FAR, seen) is None
    # What it wrote for an earlier driver says nothing of now.
    assert "has another folder" in Probe(folder, parse(FILE.format(data="hub/data"))).judge(
        FAR, seen
    )


def test_a_node_that_is_refused_is_named_with_address_and_reason(folder, address):
    probe = Probe(folder, parse(FILE.format(data="hub/data")))
    seen = look("s3://no-such-bucket/probed-1/probes", FAR.id, [], None)
    said = probe.judge(FAR, seen)
    assert said.startswith(f"{FAR.name}: storage: ")
    assert "cannot use s3://no-such-bucket/probed-1/probes: there is no such bucket" in said


def test_data_at_an_address_must_be_the_same_for_every_node(
    folder, address, client, monkeypatch, tmp_path
):
    bucket = address.split("/")[2]
    data = f"s3://{bucket}/data"

    def put(name):
        client.put_object(Bucket=bucket, Key=f"data/{name}", Body=b"x")

    with pytest.raises(StorageError, match=rf"data\.path: .* cannot use {data}: there is nothing"):
        Probe(folder, parse(FILE.format(data=data)))
    put("a.csv")
    probe = Probe(folder, parse(FILE.format(data=data)))
    same = asked(probe, folder, address, monkeypatch, tmp_path, [data])
    assert probe.judge(FAR, same) is None
    put("b.csv")
    other = asked(probe, folder, address, monkeypatch, tmp_path, [data])
    assert f"has other files at {data} than the driver" in probe.judge(FAR, other)
    none = asked(probe, folder, address, monkeypatch, tmp_path, [])
    assert f"cannot read {data}; it needs credentials" in probe.judge(FAR, none)
