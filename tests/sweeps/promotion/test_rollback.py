"""Rollback: to which version, and when it is refused."""

import random
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest

from sweeps.promotion.ledger import Ledger, LedgerEntry, LedgerError
from sweeps.promotion.rollback import active_versions, check_files, roll_back


def entries(*moves):
    """Return entries such as ``"2"`` for a promotion and ``"<1"`` for a rollback."""
    made, before = [], None
    for number, move in enumerate(moves):
        made.append(
            LedgerEntry(
                kind="rollback" if "<" in move else "promotion", version=move.strip("<"),
                previous=before, by="ann", at="", why="", id=str(number),
            )
        )  # fmt: skip
        before = made[-1].version
    return made


@pytest.mark.parametrize(
    ("moves", "left"),
    [
        (["1"], ["1"]),
        (["1", "2", "3"], ["1", "2", "3"]),
        (["1", "2", "3", "<2"], ["1", "2"]),
        (["1", "2", "3", "<2", "<1"], ["1"]),
        (["1", "2", "<1", "3"], ["1", "3"]),
        (["1", "2", "3", "<1"], ["1"]),
        (["1", "2", "1"], ["1", "2", "1"]),
        (["1", "2", "1", "<2"], ["2"]),  # 1 was rolled back, however often it was promoted
        (["1", "2", "<1", "<2"], ["1", "2"]),  # the rollback was taken back
        (["1", "2", "<1", "2"], ["1", "2"]),  # promoted once more
    ],
)
def test_what_stands_after_promotions_and_rollbacks(moves, left):
    assert active_versions(entries(*moves)) == left


@pytest.mark.parametrize("seed", range(20))
def test_plain_rollbacks_never_return_to_what_was_rolled_back(seed):
    draws = random.Random(seed)
    made, bad = entries("1"), set()
    for number in range(40):
        champion = made[-1].version
        back = [version for version in active_versions(made) if version != champion]
        rolls = bool(back) and draws.random() < 0.5
        version = back[-1] if rolls else draws.choice([v for v in "12345" if v != champion])
        kind = "rollback" if rolls else "promotion"
        made.append(replace(made[0], kind=kind, version=version, previous=champion, id=str(number)))
        if rolls:
            bad.add(champion)
            assert version not in bad
        bad.discard(version)
        assert active_versions(made)[-1] == version


def test_rollback_returns_to_the_champion_before(ledger, promote):
    promote(ledger, "1", evidence="first.json", run_id="r1")
    promote(ledger, "2")
    entry, skipped = roll_back(ledger, why="captions in capitals", by="bob")

    assert skipped == []
    assert entry == ledger.head()
    assert (entry.kind, entry.previous, entry.version) == ("rollback", "2", "1")
    assert (entry.by, entry.why) == ("bob", "captions in capitals")
    assert (entry.evidence, entry.run_id) == ("first.json", "r1")
    assert ledger.alias() == "1"


def test_a_second_rollback_goes_further_back_and_a_third_is_refused(ledger, promote):
    promote(ledger, "1", "2", "3")
    assert [roll_back(ledger)[0].version for _ in range(2)] == ["2", "1"]
    with pytest.raises(LedgerError, match=f"{ledger.model} has no version before 1 to go back to"):
        roll_back(ledger)
    assert (len(ledger.entries()), ledger.alias()) == (5, "1")


def test_a_rollback_is_taken_back_by_naming_the_version(ledger, promote):
    promote(ledger, "1", "2")
    roll_back(ledger)
    assert roll_back(ledger, to="2")[0].version == "2"
    assert roll_back(ledger)[0].version == "1"


def test_the_champion_of_before_the_ledger_can_be_returned_to(ledger, client, promote):
    client.set_registered_model_alias(ledger.model, "champion", "1")
    promote(ledger, "2")
    assert roll_back(ledger)[0].version == "1"


def test_deleted_versions_are_passed_over(ledger, client, promote):
    promote(ledger, "1", "2", "3", "4")
    for version in ("2", "3"):
        client.delete_model_version(ledger.model, version)
    entry, skipped = roll_back(ledger)
    assert (entry.version, skipped) == ("1", ["3", "2"])


def test_a_deleted_champion_can_be_left(ledger, client, promote):
    promote(ledger, "1", "2")
    client.delete_model_version(ledger.model, "2")
    assert roll_back(ledger)[0].version == "1"
    assert ledger.alias() == "1"


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("4", r"--to must be a version that was the champion of .* \(1, 2, 3\), got 4"),
        ("x", "got x; a new one becomes it by `sweeps promote`"),
        ("3", "version 3 is the champion already"),
        ("2", "version 2 was deleted from the registry"),
    ],
)
def test_a_version_that_cannot_be_returned_to_is_refused(ledger, client, promote, to, said):
    promote(ledger, "1", "2", "3")
    client.delete_model_version(ledger.model, "2")
    with pytest.raises(LedgerError, match=said):
        roll_back(ledger, to=to)
    assert len(ledger.entries()) == 3


def test_with_nothing_before_rollback_is_refused(ledger, client, promote):
    with pytest.raises(LedgerError, match="has no ledger: nothing was promoted"):
        roll_back(ledger)
    promote(ledger, "1", "2")
    client.delete_model_version(ledger.model, "1")
    with pytest.raises(
        LedgerError, match=r"no version before 2 .*; version 1 was deleted; `sweeps"
    ):
        roll_back(ledger)


def test_of_two_rollbacks_of_one_version_one_succeeds(ledger, promote):
    """Else the second would roll the good version back that the first has restored."""
    promote(ledger, "1", "2", "3")

    class Overtaken(Ledger):
        def change_champion(self, judge):
            roll_back(Ledger(self.tracking, self.model))
            return super().change_champion(judge)

    with pytest.raises(LedgerError, match=r"moved to version 2 by .* meanwhile, so nothing"):
        roll_back(Overtaken(ledger.tracking, ledger.model))
    assert ledger.head().version == "2"


@pytest.fixture
def two_files(store, log, register, request, promote):
    """A ledger whose champion is version 2; files of version 1, which has a model of its own."""
    ledger, (model_id, _) = Ledger.open(store, request.node.name.replace("/", "-")), log()
    register(model_id, ledger.model)
    register(log()[0], ledger.model)
    promote(ledger, "1", "2")
    place = store.client().get_logged_model(model_id).artifact_location
    return ledger, Path(url2pathname(urlparse(place).path))


@pytest.mark.parametrize(
    "missing", ["MLmodel", "echo.py", "artifacts/best", "artifacts/best/adapter_config.json", "."]
)
def test_files_that_are_gone_refuse_a_rollback(two_files, missing):
    ledger, files = two_files
    gone = files / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(
        LedgerError, match=r"the files of .* version 1 cannot be read, so it cannot"
    ):
        roll_back(ledger)
    assert (len(ledger.entries()), ledger.alias()) == (2, "2")


def test_weights_that_are_cut_off_refuse_a_rollback(two_files):
    ledger, files = two_files
    check_files(ledger.tracking, ledger.model, "1")
    weights = files / "artifacts" / "best" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(LedgerError, match=r"the files of .* version 1 cannot be read"):
        roll_back(ledger)
