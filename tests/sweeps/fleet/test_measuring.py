"""From what a host measures to where trials go: real actors, with made-up bytes of a GPU."""

import time

import pytest
import ray
import torch

from sweeps.capacity import memory
from sweeps.capacity.memory import Bases, capacity
from sweeps.fleet import cluster
from sweeps.fleet.hosts import Hosts
from sweeps.fleet.placement import fleet_name
from sweeps.host import actor
from sweeps.host.context import SweepContext
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from workers.evaluation.scoring import Scoring
from workers.host.residents import Residents
from workers.measures import MemoryReading
from workers.memory.fit import USABLE, Device
from workers.memory.footprint import Correction

pytestmark = pytest.mark.slow

FILE = """
name: measured
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{batch_size: 8}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
search: {{space: {{adapter.rank: {{choice: [4, 8]}}}}, objective: {{metric: loss}}}}
"""
SLOTS, FACTOR = 5, 3.0
PATIENCE = 120.0  # seconds


@pytest.fixture
def sweep(untrained_base):
    return parse(FILE.format(base=untrained_base))


@pytest.fixture
def known(sweep):
    """The base and the data, as the host knows them."""
    residents = Residents(torch.device("cpu"), Scoring(), packing=True)
    return Bases(memory.local_files(sweep), residents.extent(sweep.recipe))


@pytest.fixture
def gpu(sweep, known):
    """A GPU that holds `SLOTS` trials, as they are estimated."""
    one = capacity(sweep, known, Device(gpu=True, bytes=1e12)).one
    return Device(gpu=True, bytes=one.times(SLOTS).total / USABLE + 1)


@pytest.fixture
def context(sweep, tmp_path):
    folder = SweepFolder.create(tmp_path, "measured")
    return SweepContext(sweep=sweep, folder=folder, threads=1)


@pytest.fixture
def hosts(context, gpu, monkeypatch):
    """One host, on a CPU that it takes for that GPU; Ray is told that there is one."""

    class Measured(actor.HostActor):
        def share(self):
            return gpu

        def measure(self, factor):
            """Train a step that takes so much more than is expected of it."""
            memory = self._host.residents.device_memory
            memory.open("trial", self._context.sweep.recipe)
            expected = memory._open["trial"].expected.step
            reading = MemoryReading(peak=1e6 + factor * expected, held=1e6)
            memory.trained(["trial"], 1, reading)
            memory.close("trial")

    monkeypatch.setattr(actor, "HostActor", Measured)
    monkeypatch.setattr(cluster, "local_cpus", lambda: 1)
    monkeypatch.setattr(cluster, "local_gpus", lambda: 1)
    cluster.connect()
    hosts = Hosts(context, gpu=True, notify=print)
    yield hosts
    hosts.stop()
    ray.shutdown()


def test_what_a_host_measures_decides_how_many_trials_it_takes(hosts, context, known, gpu):
    hosts.begin()
    hosts.wait()
    name = context.folder.sweep_id
    host, fleet = ray.get_actor(f"{name}/host-0"), ray.get_actor(fleet_name(name))
    assert hosts.slots() == SLOTS
    need, point = hosts.needs(), {"adapter.rank": 8}
    before = need(point)
    placed = [ray.get(fleet.place.remote(number, before)) for number in range(4)]
    assert placed == [f"{name}/host-0"] * 4

    ray.get(host.measure.remote(FACTOR))
    fewer = capacity(context.sweep, known, gpu, Correction(training=FACTOR)).slots
    assert fewer < 4
    deadline = time.monotonic() + PATIENCE
    while hosts.slots() != fewer:
        assert time.monotonic() < deadline, f"{hosts.slots()} slots, {fewer} were expected"
        time.sleep(0.2)
    assert need(point) > before
    # Nobody loses a place; the next trial gets one when fewer than that are left.
    assert ray.get(fleet.place.remote(3, before)) == placed[3]
    for number in range(4 - fewer):
        assert ray.get(fleet.place.remote(4)) is None
        ray.get(fleet.release.remote(number, placed[number]))
    assert ray.get(fleet.place.remote(4)) is None
    ray.get(fleet.release.remote(3, placed[3]))
    assert ray.get(fleet.place.remote(4)) == placed[0]
