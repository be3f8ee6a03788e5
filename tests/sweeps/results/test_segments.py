"""The record of a population, and whose snapshot a trial goes on from."""

import pytest

from sweeps.results import segments
from sweeps.results.folder import SweepFolder
from sweeps.results.segments import Generation, Segment


@pytest.fixture
def folder(tmp_path):
    """A sweep's folder with a snapshot of each trial at rungs 2 and 4, which says whose it is."""
    folder = SweepFolder.create(tmp_path, "kept")
    for trial in ("trial-000", "trial-001", "trial-002"):
        for rung in (2, 4):
            folder.snapshot(trial, rung).mkdir(parents=True)
            (folder.snapshot(trial, rung) / "whose").write_text(trial)
    return folder


def segment(trial, rung, donor, rate=3e-3):
    return Segment(
        trial=trial, rung=rung, donor=donor, perturbed=("train.learning_rate",),
        point={"adapter.rank": 4, "train.learning_rate": rate},
    )  # fmt: skip


FIRST = Generation(
    rung=2, scores={"trial-000": 1.0, "trial-001": 2.0, "trial-002": None},
    segments=(segment("trial-002", 2, "trial-001"),),
)  # fmt: skip
SECOND = Generation(
    rung=4, scores={"trial-000": 1.0, "trial-001": 2.0, "trial-002": 3.0},
    segments=(segment("trial-000", 4, "trial-002", 2.4e-3),),
)  # fmt: skip
DRAWN = {"adapter.rank": 8, "train.learning_rate": 1e-4}


def whose(folder, trial, rung):
    return (folder.snapshot(trial, rung) / "whose").read_text()


def test_what_is_kept_is_read_back(folder):
    assert segments.generations(folder) == []
    segments.keep(folder, FIRST)
    segments.keep(folder, SECOND)
    assert segments.generations(folder) == [FIRST, SECOND]
    assert segments.of(folder, "trial-002") == list(FIRST.segments)


def test_a_trial_takes_over_its_donors_snapshot_and_nobody_elses_changes(folder):
    segments.keep(folder, FIRST)
    assert whose(folder, "trial-002", 2) == "trial-001"
    assert whose(folder, "trial-002", 4) == "trial-002"
    assert whose(folder, "trial-001", 2) == "trial-001"
    assert not list(folder.path.glob("trials/*/donated-*"))


def test_a_trial_needs_its_donor_no_more(folder):
    segments.keep(folder, FIRST)
    (folder.snapshot("trial-001", 2) / "whose").unlink()
    assert whose(folder, "trial-002", 2) == "trial-001"


def test_what_was_copied_but_not_decided_goes(folder):
    donated = folder.donated("trial-000", 4)
    donated.mkdir()
    segments.settle(folder)
    assert not donated.exists()
    assert whose(folder, "trial-000", 4) == "trial-000"


@pytest.mark.parametrize("own_is_there", [True, False])
def test_what_was_decided_but_not_moved_is_moved(folder, own_is_there):
    """A driver that was killed between the line and the move, or in the middle of the move."""
    segments.keep(folder, FIRST)
    folder.snapshot("trial-002", 2).rename(folder.donated("trial-002", 2))
    if own_is_there:
        folder.snapshot("trial-002", 2).mkdir()
    segments.settle(folder)
    assert whose(folder, "trial-002", 2) == "trial-001"


def test_the_point_of_a_rung_is_that_of_its_segment():
    own = [segment("trial-002", 2, "trial-001", 3e-3), segment("trial-002", 4, "trial-000", 5e-3)]
    rates = [segments.point_at(own, DRAWN, rung)["train.learning_rate"] for rung in (2, 3, 4, 5)]
    assert rates == [1e-4, 3e-3, 3e-3, 5e-3]
    assert segments.point_at(own, DRAWN)["train.learning_rate"] == 5e-3
    assert segments.point_at([], DRAWN) == DRAWN


def test_the_lineage_goes_back_through_all_donors():
    every = [*FIRST.segments, *SECOND.segments, segment("trial-002", 4, "trial-001", 4e-3)]
    assert segments.lineage(every, "trial-002") == "lr0.004 <- trial-001@4"
    assert segments.lineage(every, "trial-000") == "lr0.0024 <- trial-002@4 <- trial-001@2"
    assert segments.lineage(every, "trial-001") == ""


def test_a_lineage_without_a_change_names_the_donor_alone():
    same = Segment(trial="trial-000", rung=2, donor="trial-001", point=DRAWN, perturbed=())
    assert segments.lineage([same], "trial-000") == "<- trial-001@2"
