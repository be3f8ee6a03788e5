"""What stays on disk, what goes first, and what a full disk looks like."""

import errno
import json

import pytest

from sweeps.capacity import disk
from sweeps.capacity import disk as room
from sweeps.capacity.layout import layout
from sweeps.results import record, retention, segments
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation, Segment
from sweeps.rung_result import RungResult
from sweeps.spec.load import parse
from sweeps.spec.sweep import Search

FILE = """
name: stored
model: {{base: tiny:shapes}}
data: {{source: shapes}}
search: {{space: {{adapter.rank: {{choice: [2, 4]}}}}, objective: {{metric: cider}}}}
disk: {disk}
"""
SIZES = {"trial-000": 4.0, "trial-001": 8.0, "trial-002": 8.0, "trial-003": 2.0}
VALUES = {"trial-000": 0.3, "trial-001": 0.9, "trial-002": 0.5, "trial-003": 0.1}


@pytest.fixture
def folder(tmp_path):
    """Four trials of about 3 kB: an adapter and two snapshots each."""
    made = SweepFolder.create(tmp_path, "stored")
    for name, value in VALUES.items():
        best = made.best_adapter(name)
        best.mkdir(parents=True)
        metrics = {"val/cider": value, "val/loss": value, "measured/adapter_mb": SIZES[name]}
        kept = {"rung": 1, "value": value, "metrics": metrics}
        (best / "best.json").write_text(json.dumps(kept))
        (best / "adapter.bin").write_bytes(b"0" * 1000)
        for rung in (1, 2, 3):
            made.snapshot(name, rung).mkdir()
            (made.snapshot(name, rung) / "state").write_bytes(b"0" * 1000)
    return made


def sweep(**settings):
    return parse(FILE.format(disk=json.dumps(settings)))


def adapters(folder):
    return {path.parent.name for path in folder.path.glob("trials/*/best")}


def snapshots(folder):
    return {f"{path.parent.name}/{path.name}" for path in folder.path.glob("trials/*/rung-*")}


def test_adapters_of_the_best_and_of_all_that_may_still_run_stay(folder):
    over = frozenset({"trial-000", "trial-001", "trial-002"})
    assert retention.prune(sweep(keep=1), folder, over) == ["trial-002", "trial-000"]
    assert adapters(folder) == {"trial-001", "trial-003"}
    assert {name.split("/")[0] for name in snapshots(folder)} == {"trial-003"}


def test_a_running_trial_takes_no_place_of_the_best_that_are_over(folder):
    retention.prune(sweep(keep=1), folder, frozenset({"trial-000", "trial-003"}))
    assert adapters(folder) == {"trial-000", "trial-001", "trial-002"}


def test_null_keeps_all_adapters(folder):
    assert retention.prune(sweep(keep=None), folder, frozenset(VALUES)) == []
    assert adapters(folder) == set(VALUES)


def test_small_is_best_for_a_loss(folder):
    values = parse(FILE.format(disk="{keep: 1}").replace("cider}", "loss}"))
    retention.prune(values, folder, frozenset(VALUES))
    assert adapters(folder) == {"trial-003"}


def test_the_whole_front_stays_and_what_violates_a_limit_is_last(folder):
    text = FILE.format(disk="{keep: 1}")
    several = parse(
        text.replace("{metric: cider}", "[{metric: cider}, {metric: adapter_mb, mode: min}]")
    )
    # trial-002 is as large as the best one, and worse.
    ranked, needed = retention.ranked_adapters(several, folder, VALUES)
    assert retention.kept_adapters(several, ranked, needed) == set(VALUES) - {"trial-002"}
    record.append(folder, "trial-001", RungResult(rung=1, violates="adapter_mb is 8, must be < 5"))
    ranked, needed = retention.ranked_adapters(several, folder, VALUES)
    assert ranked[-1] == "trial-001"
    assert "trial-001" not in retention.kept_adapters(several, ranked, needed)


def test_without_a_limit_nothing_goes(folder):
    before = snapshots(folder), adapters(folder)
    assert retention.enforce_limit(sweep(), folder, frozenset(VALUES)) is None
    assert (snapshots(folder), adapters(folder)) == before


def test_the_least_useful_goes_first_and_only_as_much_as_is_needed(folder):
    # 16.4 kB are there; a trial needs 4.1 kB: the oldest snapshots go, then the worst adapter.
    over = frozenset({"trial-000", "trial-001"})
    assert retention.enforce_limit(sweep(limit_gb=15.6e-6), folder, over) is None
    assert {name[-3:] for name in snapshots(folder)} == {"002", "003"}
    assert adapters(folder) == {"trial-001", "trial-002", "trial-003"}


def test_what_resume_and_promotion_need_never_goes_and_the_message_says_what_to_do(folder):
    over = frozenset({"trial-000", "trial-001"})
    said = retention.enforce_limit(sweep(limit_gb=1e-6), folder, over)
    for word in (str(folder.path), "disk.limit_gb: 1e-06", "sweeps resume stored-1"):
        assert word in said
    assert adapters(folder) == {"trial-001", "trial-002", "trial-003"}
    assert len(snapshots(folder)) == 8


def caused_by(cause):
    try:
        try:
            raise cause
        except type(cause) as error:
            raise RuntimeError("could not save") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        caused_by(OSError(errno.ENOSPC, "x")),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_known_by_whatever_names_it(error, tmp_path):
    assert retention.is_full(error, tmp_path)


@pytest.mark.parametrize("error", [ValueError("bad"), OSError(errno.ENOENT, "gone")])
def test_other_errors_are_not_blamed_on_the_disk(error, tmp_path):
    assert not retention.is_full(error, tmp_path)


def test_a_library_that_says_nothing_is_believed_only_where_no_room_is_left(tmp_path, monkeypatch):
    error = RuntimeError("unexpected pos 64 vs 0")
    assert not retention.is_full(error, tmp_path)
    monkeypatch.setattr(retention, "free", lambda folder: 1e6)
    assert retention.is_full(error, tmp_path)


def test_room_is_asked_for_also_where_no_folder_is_yet(tmp_path):
    assert retention.free(tmp_path / "not" / "yet") > 0


def test_the_plan_counts_what_is_kept_and_what_trials_in_flight_write():
    plan = layout(2, 1, cpus=8, gpus=0)
    per_weight = 2 * (2 * 4 + 4 * 12)
    assert disk.expected_bytes(sweep(keep=3), 1000, plan) == 1000 * (3 * 4 + per_weight)
    assert disk.expected_bytes(sweep(keep=None), 1000, plan) == 1000 * (16 * 4 + per_weight)


@pytest.mark.parametrize("name", ["hyperband", "pbt"])
def test_trials_that_wait_for_each_other_all_have_snapshots(name):
    values = {**sweep(keep=3).model_dump(), "schedule": {"name": name}}
    waiting = type(sweep()).model_validate(values)
    expected = 1000 * (3 * 4 + 16 * (2 * 4 + 4 * 12))
    assert disk.expected_bytes(waiting, 1000, layout(2, 1, cpus=8, gpus=0)) == expected


def test_a_state_that_was_taken_over_stays_when_its_donor_is_over(folder):
    """Neither tidying nor a limit may cost what a trial that has not gone on yet begins with."""
    segment = Segment(trial="trial-003", rung=3, donor="trial-001", point={}, perturbed=())
    segments.keep(folder, Generation(rung=3, scores={}, segments=(segment,)))
    retention.prune(sweep(), folder, frozenset({"trial-001"}))
    retention.enforce_limit(sweep(limit_gb=1e-9), folder, frozenset({"trial-001"}))
    assert "trial-003/rung-003" in snapshots(folder)
    assert not any(name.startswith("trial-001") for name in snapshots(folder))


def test_too_small_a_disk_is_said_before_the_start(untrained_base, tmp_path, monkeypatch):
    values = parse(FILE.replace("tiny:shapes", str(untrained_base)).format(disk="{}"))
    assert room.warning(values, tmp_path) is None
    monkeypatch.setattr(retention, "free", lambda folder: 1e6)
    said = room.warning(values, tmp_path)
    for word in (str(tmp_path), "1 MB free", "disk.keep", "--results"):
        assert word in said


ONE = Search(objective=[{"metric": "cider"}])
TWO = Search(objective=[{"metric": "cider"}, {"metric": "adapter_mb"}])


def test_of_one_objective_the_winner_is_first_and_needed():
    bests = {"b": [0.5], "a": [0.5], "c": [0.9], "d": [0.1]}
    assert retention.retention_order(ONE, bests, ()) == (["c", "a", "b", "d"], 1)
    assert retention.retention_order(ONE, {}, ()) == ([], 0)


def test_of_several_the_front_is_needed_and_stands_before_the_others():
    bests = {"a": [0.9, 9.0], "b": [0.8, 10.0], "c": [0.1, 1.0], "d": [0.5, 3.0]}
    assert retention.retention_order(TWO, bests, ()) == (["a", "d", "c", "b"], 3)


def test_who_violates_a_limit_is_last():
    bests = {"a": [0.9, 9.0], "b": [0.8, 10.0], "c": [0.1, 1.0]}
    assert retention.retention_order(TWO, bests, {"a"}) == (["b", "c", "a"], 2)
    assert retention.retention_order(ONE, {"a": [0.9], "b": [0.8]}, {"a"}) == (["b", "a"], 1)
