"""What ``sweeps plan`` says of memory: what a host needs, and how many trials it can hold."""

from sweeps.capacity import bases, memory
from sweeps.capacity.bases import Bases, Files
from sweeps.capacity.device import cards, machine_bytes
from sweeps.capacity.layout import Layout
from sweeps.capacity.memory import Capacity
from sweeps.results.retention import format_bytes
from sweeps.spec.sweep import Sweep
from workers.memory.fit import Device

UNKNOWN = "unknown before the base is on this machine"
_JAVA_BYTES = 0.6e9  # METEOR's Java process on each node, measured


def device_of(layout: Layout, gpu_bytes: float | None = None) -> Device | None:
    """Return what each host has: of a GPU with `gpu_bytes`, else of this machine's own devices.

    None for GPUs of which nothing is known.
    """
    if gpu_bytes is None and not layout.gpus_per_host:
        own = machine_bytes() / layout.hosts
        return Device(gpu=False, bytes=own, hosts=layout.hosts)
    known = [card.bytes for card in cards()] if gpu_bytes is None else [gpu_bytes]
    return Device(gpu=True, bytes=min(known) * (layout.gpus_per_host or 1)) if known else None


def lines(sweep: Sweep, files: Files, device: Device | None) -> list[tuple[str, str]]:
    """Return headings and texts of the memory of one host."""
    if not files:
        return [("memory", UNKNOWN)]
    if device is None:
        return [("memory", "unknown: no NVIDIA driver says how large the GPU is; "
                           "name a size with --gpu-memory")]  # fmt: skip
    found = memory.capacity(sweep, Bases(files), device)
    title = f"of a host on a {_kind(device)}, for the largest trial: {_point(sweep, found)}"
    missing = [base for base, revision in bases.names(sweep) if (base, revision) not in files]
    if missing:
        title += f"; not counted before they are on this machine: {', '.join(missing)}"
    return [("memory", title), *_parts(sweep, found), *_slots(sweep, found, device)]


def summary(sweep: Sweep, files: Files, layout: Layout) -> str:
    """Return in one line what one host needs with a single slot."""
    device = device_of(layout)
    if not files or device is None:
        return UNKNOWN
    found = memory.capacity(sweep, Bases(files), device)
    parts = ", ".join(f"{name.strip()} {text}" for name, text in _parts(sweep, found)[:-1])
    return f"about {format_bytes(found.one.total)} per host with one slot: {parts}"


def _parts(sweep: Sweep, found: Capacity) -> list[tuple[str, str]]:
    one, evaluate = found.one, found.largest.evaluate
    stored = " and ".join(map(str, sweep.swept("quantization", sweep.quantization)))
    several = len(bases.names(sweep))
    count = f"{several} bases, " if several > 1 else ""
    beams = max(evaluate.beams, evaluate.final_beams)
    java = f", {format_bytes(_JAVA_BYTES)} of METEOR" if "meteor" in evaluate.metrics else ""
    rows = f"{found.micro_batch} row{'s' if found.micro_batch > 1 else ''} in a forward"
    return [
        ("  base", f"{format_bytes(one.base)}, {count}quantization {stored}"),
        ("  adapter", f"{format_bytes(one.adapter)} per slot, with gradient and optimizer"),
        ("  step", f"{format_bytes(one.activations)} per slot for activations, "
                   f"{format_bytes(one.logits)} for logits, {rows}"),
        ("  captions", f"{format_bytes(one.generation)} per slot instead of a step, "
                       f"{evaluate.batch_size} images with {beams} beam{'s' if beams > 1 else ''}"),
        ("  process", f"{format_bytes(one.context)}{java}"),
        ("  together", f"{format_bytes(one.total)} with one slot"),
    ]  # fmt: skip


def _slots(sweep: Sweep, found: Capacity, device: Device) -> list[tuple[str, str]]:
    who = "some trials" if found.packs else "all trials"
    alone = [("  alone", f"{who}: {reason}") for reason in found.alone]
    if found.one.total > device.room:
        alone.append(("  short", _short(found, device)))
    return [("  slots", _count(sweep, found)), *alone]


def _count(sweep: Sweep, found: Capacity) -> str:
    """Return the slots of a host and what decided on them."""
    together = format_bytes(found.one.times(found.slots).total)
    auto = f"{found.why}; {together} together" if found.slots > 1 else found.why
    if sweep.resources.slots == "auto":
        return f"{found.slots}: {auto}"
    return f"{sweep.resources.slots} as the file says; auto would be {found.slots}: {auto}"


def _short(found: Capacity, device: Device) -> str:
    """Return what becomes of the largest trial where memory is short."""
    if device.gpu and found.least > device.bytes:
        return f"some trials need at least {format_bytes(found.least)}: such points are not tried"
    return f"trials may run out of memory; they need up to {format_bytes(found.least)} at the least"


def _kind(device: Device) -> str:
    return f"{'GPU' if device.gpu else 'CPU'} with {format_bytes(device.bytes)}"


def _point(sweep: Sweep, found: Capacity) -> str:
    """Return the values of the largest trial that memory depends on."""
    largest = found.largest
    batch = f"batch size {largest.train.batch_size}"
    adapter = largest.adapter
    base = f" of {largest.model.base}" if len(bases.names(sweep)) > 1 else ""
    return f"{adapter.variant} of rank {adapter.rank} on {adapter.targets}{base}, {batch}"
