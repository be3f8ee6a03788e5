"""The budget's clock, and what it counts."""

import pytest

from sweeps.capacity import layout
from sweeps.capacity.layout import Layout
from sweeps.results import record
from sweeps.results.budget import Spent
from sweeps.results.folder import SweepFolder
from sweeps.rung_result import RungResult
from sweeps.spec.load import parse
from sweeps.spec.sweep import Budget

FILE = """
name: frugal
model: {base: nothing}
data: {source: shapes}
search: {budget: {gpu_hours: 1}}
"""


@pytest.fixture
def folder(tmp_path):
    return SweepFolder.create(tmp_path, "frugal")


class Clock:
    """Seconds that pass only when they are told to."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def rung(number, seconds):
    return RungResult(rung=number, seconds=seconds, objective=1.0, finished=False)


def test_wall_time_goes_on_where_the_driver_before_stopped(folder):
    clock = Clock()
    first = Spent(folder, Budget(hours=1.0), (), now=clock)
    clock.seconds += 3000
    first.keep()
    assert not first.used_up
    clock.seconds += 50_000  # nobody runs
    second = Spent(folder, Budget(hours=1.0), (), now=clock)
    clock.seconds += 599
    assert not second.used_up
    clock.seconds += 1
    assert second.used_up
    assert str(second) == "1 of 1 h"


def test_gpu_hours_are_the_rungs_on_record_and_those_reported_each_once(folder):
    record.append(folder, "trial-000", rung(1, 1800.0))
    spent = Spent(folder, Budget(gpu_hours=1.0), ["trial-000"], now=Clock())
    assert spent.gpu_hours == 0.5
    spent.rung("trial-000", rung(1, 1800.0))  # told again after a resume
    assert spent.gpu_hours == 0.5
    spent.rung("trial-001", RungResult(failed="no room"))
    spent.rung("trial-001", rung(1, 1800.0))
    assert spent.used_up


def test_without_a_budget_nothing_is_ever_used_up(folder):
    clock = Clock()
    spent = Spent(folder, Budget(), (), now=clock)
    clock.seconds += 1e9
    assert not spent.used_up
    assert str(spent) == ""


def test_gpu_hours_are_refused_where_no_host_has_a_gpu():
    sweep = parse(FILE)
    on_cpu = Layout(hosts=1, slots=1, gpus_per_host=0, cpus_per_host=1.0, threads=1)
    with pytest.raises(ValueError, match=r"search\.budget\.gpu_hours: there is no GPU here"):
        layout.refuse_gpu_budget(sweep, on_cpu)
    layout.refuse_gpu_budget(
        sweep, Layout(hosts=1, slots=1, gpus_per_host=1, cpus_per_host=1.0, threads=1)
    )


def test_hosts_that_share_a_gpu_use_up_their_share_of_its_hours(folder):
    record.append(folder, "trial-000", rung(1, 1800.0))
    half = {"now": Clock(), "gpus_per_host": 0.5}
    assert Spent(folder, Budget(gpu_hours=1.0), ["trial-000"], **half).gpu_hours == 0.25
