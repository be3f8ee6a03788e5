"""The memory of ``sweeps plan``: what a host needs, and how many trials it can hold."""

from sweeps.capacity import memory
from sweeps.capacity.device import cards, machine_bytes, usable
from sweeps.capacity.layout import Layout
from sweeps.capacity.memory import Bases, Capacity, Files
from sweeps.results.retention import format_bytes
from sweeps.spec.sweep import Sweep
from workers.memory.fit import Device
from workers.models.targets import experts_note

UNKNOWN = "unknown before the base is on this machine"
_JAVA_BYTES = 0.6e9  # METEOR's Java process on each node, measured


def device_of(layout: Layout, gpu_bytes: float | None = None) -> Device | None:
    """Return each host's device: of `gpu_bytes` or this machine's; None for an unknown GPU.

    Of several GPUs or slices the smallest counts.
    """
    if gpu_bytes is None and not layout.gpus_per_host:
        own = machine_bytes() / layout.hosts
        return Device(gpu=False, bytes=own, hosts=layout.hosts)
    known = [card.bytes for card in usable(cards())] if gpu_bytes is None else [gpu_bytes]
    return Device(gpu=True, bytes=min(known) * (layout.gpus_per_host or 1)) if known else None


def lines(sweep: Sweep, files: Files, device: Device | None) -> list[tuple[str, str]]:
    """Return headings and texts of the memory of one host."""
    if not files:
        return [("memory", UNKNOWN)]
    if device is None:
        reason = "no NVIDIA driver says how large the GPU is; name a size with --gpu-memory"
        return [("memory", f"unknown: {reason}")]
    found, every = memory.capacity(sweep, Bases(files), device), memory.base_names(sweep)
    largest, kind = found.largest, "GPU" if device.gpu else "CPU"
    base = f" of {largest.model.base}" if len(every) > 1 else ""
    title = (
        f"of a host on a {kind} with {format_bytes(device.bytes)}, for the largest trial: "
        f"{largest.adapter.variant} of rank {largest.adapter.rank} on {largest.adapter.targets}"
        f"{base}, batch size {largest.train.batch_size}"
    )
    if missing := [name for name, revision in every if (name, revision) not in files]:
        title += f"; not counted before they are on this machine: {', '.join(missing)}"

    slots = found.why
    if found.slots > 1:
        slots += f"; {format_bytes(found.one.times(found.slots).total)} together"
    slots = f"{found.slots}: {slots}"
    if sweep.resources.slots != "auto":
        slots = f"{sweep.resources.slots} as the file says; auto would be {slots}"
    left_out = [("  left out", text) for text in found.left_out]
    trials = "some trials" if found.packs else "all trials"
    alone = [("  alone", f"{trials}: {reason}") for reason in found.alone]
    least = format_bytes(found.least)
    if found.one.total > device.room and device.gpu and found.least > device.bytes:
        short = f"some trials need at least {least}: such points are not tried"
        alone.append(("  short", short))
    elif found.one.total > device.room:
        short = f"trials may run out of memory; they need up to {least} at the least"
        alone.append(("  short", short))
    notes = dict.fromkeys(experts_note(base.shapes) for base in files.values())
    experts = [("  experts", note) for note in notes if note]
    return [
        *[("memory", title), *_parts(sweep, found), *experts],
        *[*left_out, ("  slots", slots), *alone],
    ]


def summary(sweep: Sweep, files: Files, layout: Layout) -> str:
    """Return the need of one host with a single slot in one line."""
    device = device_of(layout)
    if not files or device is None:
        return UNKNOWN
    found = memory.capacity(sweep, Bases(files), device)
    parts = ", ".join(f"{name.strip()} {text}" for name, text in _parts(sweep, found)[:-1])
    return f"about {format_bytes(found.one.total)} per host with one slot: {parts}"


def _parts(sweep: Sweep, found: Capacity) -> list[tuple[str, str]]:
    one, evaluate = found.one, found.largest.evaluate
    size, several = format_bytes, len(memory.base_names(sweep))
    stored = " and ".join(map(str, sweep.swept("quantization", sweep.quantization)))
    stored += _stored_otherwise(sweep)
    count = f"{several} bases, " if several > 1 else ""
    beams = max(evaluate.beams, evaluate.final_beams)
    written = f"{evaluate.usual_batch} images with {beams} beam{'s' if beams > 1 else ''}"
    java = f", {size(_JAVA_BYTES)} of METEOR" if "meteor" in evaluate.metrics else ""
    rows = f"{found.micro_batch} row{'s' if found.micro_batch > 1 else ''} in a forward"
    step = f"{size(one.activations)} per slot for activations, {size(one.logits)} for logits"
    features = f"{size(one.features)} for kept image features, which leave if memory runs out"
    return [
        ("  base", f"{size(one.base)}, {count}quantization {stored}"),
        ("  adapter", f"{size(one.adapter)} per slot, with gradient and optimizer"),
        ("  step", f"{step}, {rows}"),
        ("  captions", f"{size(one.generation)} per slot instead of a step, {written}"),
        *([("  features", features)] if one.features else []),
        ("  process", f"{size(one.context)}{java}"),
        ("  together", f"{size(one.total)} with one slot"),
    ]


def _stored_otherwise(sweep: Sweep) -> str:
    """Return what the file says of the base's modules, type and attention; searched or not."""
    model, text = sweep.model, ""
    if any(kept := sweep.swept("model.unquantized_modules", model.unquantized_modules)):
        names = (", ".join(own) if own else "the head alone" for own in kept)
        text += f", which leaves alone {' or '.join(names)}"
    for field, own in (("dtype", model.dtype), ("attn_implementation", model.attn_implementation)):
        if any(
            values := [v for v in sweep.swept(f"model.{field}", own) if v not in (None, "auto")]
        ):
            text += f", {field} {' and '.join(map(str, values))}"
    return text
