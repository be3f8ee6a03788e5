"""The alias moves while clients ask: no call fails, and each answer is of one version."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweeps.serving import served as keeper_module

from .conftest import COLORS, NAME, encoded, picture, serving

REQUESTS = [{"image": encoded(picture(color))} for color in COLORS]


@pytest.fixture
def running(shop, monkeypatch):
    monkeypatch.setattr(keeper_module, "POLL", 0.05)
    shop.alias(NAME, "1")
    with serving(shop) as made:
        yield made
    shop.alias(NAME, "1")


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def version_is(client, number):
    return lambda: client.model()["version"] == number


def test_the_alias_moves_under_load_and_no_call_fails(running, shop):
    client, _ = running
    ended = threading.Event()

    def ask(index):
        answers = []
        while not ended.is_set():
            answers.append((index, *client.ask(REQUESTS[index])))
        return answers

    with ThreadPoolExecutor(len(COLORS)) as pool:
        asking = [pool.submit(ask, index) for index in range(len(COLORS))]
        try:
            for number in ("2", "1", "3", "2"):  # version 3 has another base
                shop.alias(NAME, number)
                until(version_is(client, number))
        finally:
            ended.set()
        answers = [answer for each in asking for answer in each.result()]

    says = {
        number: [shop.says(NAME, number, [picture(color)])[0] for color in COLORS]
        for number in ("1", "2", "3")
    }
    assert {status for _, status, _ in answers} == {200}
    for index, _, said in answers:
        assert said["predictions"][0] in {says[number][index] for number in says}
    assert client.ask(REQUESTS[0])[1]["predictions"] == [says["2"][0]]
    assert says["1"] != says["2"] != says["3"]


def test_concurrent_calls_share_batches(running):
    client, _ = running
    before = client.model()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.ask, REQUESTS * 4))
    after = client.model()
    assert {status for status, _ in answers} == {200}
    assert after["images"] - before["images"] == len(answers)
    assert after["batches"] - before["batches"] <= len(answers) / 2


def test_an_equal_base_stays_and_only_the_adapter_changes(running, shop):
    client, keeper = running
    with keeper.lease() as first:
        pass
    shop.alias(NAME, "2")
    until(version_is(client, "2"))
    with keeper.lease() as second:
        assert second.resident is first.resident
    until(lambda: second.resident.adapters == ("version-2",))
    shop.alias(NAME, "3")
    until(version_is(client, "3"))
    with keeper.lease() as third:
        assert third.resident is not first.resident
    assert client.model()["quantization"] == "int8"


def test_the_old_version_stays_until_its_last_call_is_answered(running, shop):
    client, keeper = running
    with keeper.lease() as first:
        shop.alias(NAME, "2")
        until(version_is(client, "2"))
        assert set(first.resident.adapters) == {"version-1", "version-2"}
        captioner = first.captioner
        assert captioner.model() is not None  # it can still be asked for its model
    until(lambda: first.resident.adapters == ("version-2",))
    assert client.ask(REQUESTS[0])[1]["predictions"] == shop.says(NAME, "2", [picture("red")])


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(running, shop, caplog):
    client, _ = running
    number = shop.register(NAME, 7)  # it has the alias now, perhaps loaded already
    source = shop.tracking.client().get_model_version(NAME, number).source
    files = next((shop.tracking.root / "artifacts").rglob(source.removeprefix("models:/")))
    shop.alias(NAME, "1")
    until(version_is(client, "1"))
    shutil.rmtree(files)

    shop.alias(NAME, number)
    until(lambda: client.model()["failed"])
    facts = client.model()
    assert facts["version"] == "1"
    assert facts["failed"]["version"] == number
    assert facts["failed"]["reason"]
    assert client.ask(REQUESTS[0])[1]["predictions"] == shop.says(NAME, "1", [picture("red")])
    assert [r for r in caplog.messages if f"version {number} cannot be loaded, version 1" in r]

    shop.alias(NAME, "2")
    until(version_is(client, "2"))
    assert client.model()["failed"] is None


def test_an_adapter_that_does_not_fit_leaves_the_base_as_it_was(running, shop):
    _, keeper = running
    with keeper.lease() as served:
        recipe, resident = served.recipe, served.resident
    with pytest.raises(ValueError, match=r"does not fit its recipe: \d+ weights are missing"):
        resident.attach("other", recipe, {}, None)
    assert resident.adapters == ("version-1",)


def test_a_registry_that_is_away_changes_nothing(running, shop):
    client, _ = running
    database = shop.results / "tracking.db"
    away = database.rename(database.with_name("away.db"))
    try:
        until(lambda: client.model()["registry"] != "reachable")
        assert client.ask(REQUESTS[0])[0] == 200
        assert client.model()["version"] == "1"
    finally:
        away.rename(database)
    until(lambda: client.model()["registry"] == "reachable")
