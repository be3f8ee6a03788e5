"""What a node's view of storage, data and base is judged by, without Ray."""

import shutil

import pytest

from sweeps.fleet.nodes import Node
from sweeps.fleet.probe import Probe, digest, look
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse

FAR = Node(id="f" * 8, name="far (10.0.0.7, node ffffffff)", cpus=4, gpus=0, bytes=16e9)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "captions.jsonl").write_text('{"image": "a.png", "caption": "a dog"}\n')
    (folder / "images/a.png").write_bytes(b"12345")
    return folder


@pytest.fixture
def folder(tmp_path):
    return SweepFolder.create(tmp_path / "results", "probed")


@pytest.fixture
def probe(folder, data):
    text = f"name: probed\nmodel: {{base: hub/base}}\ndata: {{source: folder, path: {data}}}\n"
    return Probe(folder, parse(text))


def seen_by(probe, data, name=FAR.id):
    return look(str(probe.leave_word()), name, [str(data)])


def test_a_node_that_sees_the_same_takes_part(probe, data):
    assert probe.judge(FAR, seen_by(probe, data)) is None


def test_a_node_that_cannot_read_the_folder_is_named(probe, data, tmp_path):
    probe.leave_word()
    seen = look(str(tmp_path / "nowhere"), FAR.id, [str(data)])
    problem = probe.judge(FAR, seen)
    assert problem.startswith(f"{FAR.name} cannot use {tmp_path / 'results'}: FileNotFoundError")
    assert "--results" in problem


def test_a_node_that_cannot_write_is_named(probe, data, folder):
    (folder.probes / FAR.id).mkdir(parents=True)  # what it would write cannot be written
    problem = probe.judge(FAR, seen_by(probe, data))
    assert problem.startswith(f"{FAR.name} cannot use ")
    assert "IsADirectoryError" in problem


def test_a_node_with_a_folder_of_its_own_at_the_same_path_is_named(probe, data, folder, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(probe.leave_word(), own)
    problem = probe.judge(FAR, look(str(own), FAR.id, [str(data)]))
    assert problem.startswith(f"{FAR.name} has another folder at {folder.root}")
    (own / "driver").write_text("of another time")
    (folder.probes / FAR.id).write_text("left by an earlier driver")
    problem = probe.judge(FAR, look(str(own), FAR.id, [str(data)]))
    assert problem.startswith(f"{FAR.name} has another folder at {folder.root}")


def test_a_node_without_the_data_is_named(probe, data):
    seen = seen_by(probe, data.with_name("elsewhere"))
    assert probe.judge(FAR, seen).startswith(f"{FAR.name} has no {data}")


def test_a_node_with_other_data_is_named(probe, data):
    (data / "captions.jsonl").write_text('{"image": "a.png", "caption": "a cat"}\n')
    assert probe.judge(FAR, seen_by(probe, data)).startswith(
        f"{FAR.name} has other files at {data}"
    )


def test_hub_names_are_not_looked_for(folder):
    Probe(folder, parse("name: probed\nmodel: {base: hub/base}\ndata: {source: shapes}\n"))


def test_a_digest_tells_contents_names_and_sizes_apart(data):
    first = digest(data)
    assert digest(data) == first
    (data / "images/a.png").write_bytes(b"123456")
    longer = digest(data)
    (data / "images/a.png").rename(data / "images/b.png")
    renamed = digest(data)
    (data / "captions.jsonl").write_text('{"image": "b.png", "caption": "a cat"}\n')
    assert len({first, longer, renamed, digest(data)}) == 4


def test_large_files_are_told_apart_by_their_ends(tmp_path):
    for name, last in (("a", b"x"), ("b", b"y")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(20_000_000)
            file.seek(-1, 2)
            file.write(last)
    assert digest(tmp_path / "a") != digest(tmp_path / "b")
