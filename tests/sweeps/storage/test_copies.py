"""Two machines with working copies of one store; and plain folders, to which nothing is done."""

import shutil

import pytest

from sweeps.storage import claims, copies, places
from sweeps.storage.store import Storage
from workers.files import cache


@pytest.fixture
def machines(address):
    """Working copies of two processes."""
    return places.working(address, "one"), places.working(address, "other")


def written(root, name, text="x"):
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def everything(path):
    return True


def test_a_folder_of_results_stays_what_it_is(tmp_path):
    assert places.working(str(tmp_path), "one") == tmp_path
    assert places.around(tmp_path / "sweep-1") is None
    assert places.address_of(tmp_path) is None
    file = written(tmp_path, "sweep-1/record")
    copies.push(file)
    copies.pull(file)
    copies.refresh(tmp_path, everything)
    copies.forget(file)
    assert claims.try_claim(file.parent)
    assert copies.holds(file)
    assert copies.glob(tmp_path, "*/rec*") == [file]
    assert claims.names(tmp_path) == ["sweep-1"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["record", "sweep-1"]
    copies.drop(file.parent)
    copies.drop(file.parent)
    assert not file.parent.exists()


def test_a_file_goes_from_one_machine_to_the_other(machines, address):
    one, other = machines
    copies.push(written(one, "sweep-1/record", "first"))
    copies.pull(other / "sweep-1/record")
    assert (other / "sweep-1/record").read_text() == "first"
    assert places.address_of(one / "sweep-1/record") == f"{address}/sweep-1/record"
    assert places.address_of(one) == address
    copies.drop(one / "sweep-1/record")
    assert not copies.holds(other / "sweep-1/record")
    copies.pull(other / "sweep-1/record")
    assert not (other / "sweep-1/record").exists()


def test_a_folder_arrives_whole_and_is_replaced_whole(machines):
    one, other = machines
    best = one / "best"
    written(best, "adapter", "first")
    written(best, "only/first")
    copies.push(best)
    copies.pull(other / "best")
    assert (other / "best/only/first").exists()
    (best / "only/first").unlink()
    written(best, "adapter", "later")
    copies.push(best)
    assert copies.holds(other / "best")
    copies.pull(other / "best")
    assert (other / "best/adapter").read_text() == "later"
    assert not (other / "best/only/first").exists()
    assert [path.name for path in other.glob(".*partial")] == []


def test_half_a_folder_is_none(machines, address):
    """Whoever was killed while it sent a folder up has not sent the file that makes it count."""
    one, other = machines
    written(one, "rung-001/weights")
    copies.push(one / "rung-001")
    Storage(address).delete(f"rung-001/{copies.WHOLE}")
    assert not copies.holds(other / "rung-001")
    copies.pull(other / "rung-001")
    assert not (other / "rung-001").exists()


def test_a_folder_that_is_replaced_while_it_is_fetched_is_fetched_again(machines, monkeypatch):
    one, other = machines
    written(one, "best/adapter", "first")
    copies.push(one / "best")
    fetched = copies._fetched
    later = ["later"]

    def replaced_meanwhile(storage, key, folder, files):
        done = fetched(storage, key, folder, files)
        if later:
            written(one, "best/adapter", later.pop())
            copies.push(one / "best")
        return done

    monkeypatch.setattr(copies, "_fetched", replaced_meanwhile)
    copies.pull(other / "best")
    assert (other / "best/adapter").read_text() == "later"


def test_a_folder_that_is_there_already_is_not_fetched_twice(machines, monkeypatch):
    one, other = machines
    written(one, "rung-001/weights")
    copies.push(one / "rung-001")
    copies.pull(other / "rung-001")
    monkeypatch.setattr(copies, "_fetched", None)  # would be called
    copies.pull(other / "rung-001")
    copies.pull(one / "rung-001")


def test_a_refresh_brings_what_is_wanted_and_takes_away_what_is_gone(machines):
    one, other = machines
    for name in ("trial-1/rungs", "trial-1/rung-1/weights", "trial-2/rungs"):
        copies.push(written(one, f"sweep-1/{name}"))
    written(other, "sweep-1/trial-0/rungs", "of a sweep that is gone")
    lock = written(other, "sweep-1/study.lock")
    copies.refresh(other / "sweep-1", lambda path: "rung-" not in path)
    there = [str(path.relative_to(other)) for path in (other / "sweep-1").rglob("*/rung*")]
    assert sorted(there) == ["sweep-1/trial-1/rungs", "sweep-1/trial-2/rungs"]
    assert lock.exists()
    copies.push(written(one, "sweep-1/trial-1/rungs", "y"))  # as long, and in the same second
    copies.refresh(other / "sweep-1", everything)
    assert (other / "sweep-1/trial-1/rungs").read_text() == "y"


def test_patterns_are_matched_in_the_store(machines):
    one, other = machines
    for trial in (1, 2):
        copies.push(written(one, f"trials/{trial}/rung-{trial}/weights").parent)
    assert copies.glob(other, "trials/*/rung-*") == [
        other / "trials/1/rung-1", other / "trials/2/rung-2"
    ]  # fmt: skip
    assert copies.glob(other / "trials", "1") == [other / "trials/1"]
    assert copies.glob(other / "nowhere", "*") == []
    assert copies.size(other / "trials/1") == copies.size(other / "trials") / 2 > 0


def test_a_folder_that_two_machines_make_belongs_to_one(machines, monkeypatch):
    monkeypatch.setattr(claims, "CLAIM_SECONDS", 0.0)
    one, other = (machine / "sweep-1" for machine in machines)
    one.mkdir()
    other.mkdir()
    assert claims.try_claim(one)
    assert not claims.try_claim(other)
    assert claims.names(other.parent) == ["sweep-1"]


def test_of_two_that_write_at_the_same_moment_the_last_one_wins(machines, monkeypatch):
    monkeypatch.setattr(claims, "CLAIM_SECONDS", 0.0)
    one, other = (written(machine, "driver", machine.name) for machine in machines)
    copies.push(one)
    copies.push(other)
    assert (claims.wrote_last(one), claims.wrote_last(other)) == (False, True)


def test_the_time_of_a_file_is_that_of_the_store(machines):
    one, other = machines
    file = written(one, "driver")
    copies.push(file)
    assert claims.time_of(other / "driver") == claims.time_of(file) > 0
    with pytest.raises(FileNotFoundError, match="has no nothing"):
        claims.time_of(other / "nothing")


def test_a_private_copy_outlives_its_process_only_until_the_next_one(address):
    mine = places.private(address, "host-0")
    dead = mine.with_name(mine.name.rpartition(".")[0] + ".999999999")
    written(dead, "sweep-1/weights")
    assert places.private(address, "host-0") != mine
    assert mine.exists()
    assert not dead.exists()
    copies.forget(mine)
    assert not mine.exists()


def test_room_is_made_only_where_the_store_has_it(machines):
    one, _ = machines
    copies.push(written(one, "trial/rung-1/weights").parent)
    copies.forget(one / "trial")
    assert not (one / "trial").exists()
    assert copies.holds(one / "trial/rung-1")


def test_sweeps_of_the_store_are_found_and_those_that_are_gone_are_not(machines):
    one, other = machines
    for name in ("a-1", "b-1"):
        copies.push(written(one, f"{name}/sweep.yaml", name))
    claims.fetch_sweep_files(other)
    assert [path.read_text() for path in sorted(other.glob("*/sweep.yaml"))] == ["a-1", "b-1"]
    copies.drop(one / "a-1")
    claims.fetch_sweep_files(other)
    assert [path.parent.name for path in other.glob("*/sweep.yaml")] == ["b-1"]


@pytest.mark.parametrize(
    "address",
    ["s3://key:topsecret@bucket/p", "s3://topsecret@bucket", "s3://b/p?secret_key=topsecret"],
)
def test_an_address_with_a_secret_is_refused_and_leaves_nothing(address, tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="must be an address without a secret") as error:
        places.working(address, "one")
    assert "topsecret" not in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_options_of_an_address_stay_behind_its_path(keys):
    root = places.working("s3://bucket/p/?region=eu-west-1", "one")
    assert places.address_of(root / "a/b") == "s3://bucket/p/a/b?region=eu-west-1"
    assert places.address_of(root) == "s3://bucket/p?region=eu-west-1"


def test_what_came_along_reaches_a_node_once(address, tmp_path, monkeypatch):
    def on(node):
        monkeypatch.setenv(cache.VARIABLE, str(tmp_path / node))
        return places.working(address, places.DRIVER)

    here = on("driver")
    table = written(here, "inputs/3f2a/data/table.csv", "image,caption\n")
    written(here, "inputs/3f2a/data/images/a.png")
    copies.share([table, tmp_path / "elsewhere"])
    there = on("node")
    copies.fetch(address, [there / "inputs/3f2a/data/table.csv"])
    assert (there / "inputs/3f2a/data/images/a.png").exists()
    monkeypatch.setattr(copies, "_fetched", None)  # would be called
    copies.fetch(address, [there / "inputs/3f2a/data/table.csv"])
    monkeypatch.setattr(copies, "push", None)
    copies.share([table])


def test_what_came_along_is_there_again_where_the_sweep_goes_on(address, tmp_path, monkeypatch):
    table = written(places.working(address, places.DRIVER), "inputs/3f2a/data/table.csv")
    copies.share([table])
    shutil.rmtree(tmp_path / "cache")
    places.working(address, places.DRIVER)
    copies.share([table])
    assert table.exists()
