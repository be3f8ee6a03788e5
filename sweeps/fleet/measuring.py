"""What hosts have to offer: as estimated at first, then by what they measure while trials run."""

from contextlib import suppress
from dataclasses import replace

import ray

from sweeps.capacity import memory
from sweeps.capacity.bases import Bases
from sweeps.fleet.placement import Room
from sweeps.fleet.starting import HostHandle, HostReport
from sweeps.spec.sweep import Sweep
from workers.memory.fit import Device
from workers.memory.footprint import Correction, largest


def known(host: HostHandle) -> HostReport:
    """Ask a host for what does not change as long as it lives; waits for its answer."""
    share, files = ray.get([host.actor.share.remote(), host.actor.files.remote()])
    return HostReport(share=share, bases=Bases(files), correction=Correction())


def has_changed(host: HostHandle) -> bool:
    """Tell whether a host has measured something new since it was last asked; waits for nothing.

    A host that begins anew, because its process died, has measured nothing: what it knew stays.
    """
    if host.asked is None:
        host.asked = host.actor.correction.remote()
    answered, _ = ray.wait([host.asked], timeout=0)
    if not answered or host.known is None:
        return False
    now = before = host.known.correction
    with suppress(ray.exceptions.RayError):  # its process has died
        now = largest([before, ray.get(host.asked)])
    host.asked, host.known = None, replace(host.known, correction=now)
    return now != before


def room(sweep: Sweep, host: HostHandle, *, gpu: bool) -> Room:
    """Return what a host has to offer, by what is known of it now."""
    assert host.known, "a host is asked before it offers anything"
    share, own = host.known.share, host.known
    if gpu and not share.gpu:  # the node says that it has a GPU which torch cannot use
        share = Device(gpu=True, bytes=0.0)
    slots = sweep.resources.slots
    if slots == "auto":
        slots = memory.auto_slots(sweep, own.bases, share, own.correction)
    return Room(slots=slots, gpu_bytes=share.bytes if gpu else None)
