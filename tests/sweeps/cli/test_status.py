"""What `sweeps status` says beside the table."""

from sweeps.cli.status import SweepStatus
from sweeps.driver.progress import Progress
from sweeps.rung_result import RungResult
from sweeps.spec.objectives import Objective
from sweeps.tracking.sources import Waiting


def rung(number, waits=0.0, seconds=0.0, last=0.0):
    counts = {"waits": waits, "seconds": seconds, "last": last, "queued": 0}
    return RungResult(rung=number, image_waits=counts)


def test_status_says_how_often_training_waited_for_images():
    objectives = (Objective(metric="cider", mode="max"),)
    progress = Progress(sweep_id="s-1", objectives=objectives, wanted=2, epochs=2)
    nothing = Waiting(sweep_id="s-1", entries={}, refused={})
    status = SweepStatus(progress=progress, driver=None, waiting=nothing)
    progress.start(0, {})
    progress.result(0, RungResult(rung=1))  # of a version that did not count
    assert not any("images" in note for note in status.notes)
    progress.result(0, rung(2))
    assert status.notes[-1] == "images: no training step has waited for one"
    progress.start(1, {})
    progress.result(1, rung(1, 3.0, 0.2, 7.0))
    progress.result(1, rung(2, 1.0, 0.1, 2.0))
    assert status.notes[-1] == (
        "images: 4 training steps waited for some, 0.3 s in all, "
        "none of them after step 7 of its rung"
    )
