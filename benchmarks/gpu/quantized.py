"""(h) Rungs of a whole host with a quantized base: packed or not, how fast, how good."""

import time
from importlib.util import find_spec

from benchmarks.gpu import cuda
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.trials import host, one_rung, recipes


def measure(setting: Setting, results: Results) -> None:
    """Train two rungs of some trials on each kind of base; the second one is timed."""
    kinds = ["none"]
    if find_spec("bitsandbytes"):
        kinds += ["nf4", "int8"]
    else:
        results.note("nf4 and int8 are not tried: bitsandbytes is not here, see fetch_wheels.py")
    for quantization in kinds:
        own = recipes(
            setting,
            setting.size(8, 2),
            (16,),
            quantization=quantization,
            train__epochs=3,
            train__batch_size=setting.size(8, 2),
        )
        every = host(setting)
        for name, recipe in own.items():
            every.admit(name, recipe)
        cuda.forget_peak()
        one_rung(every, own)
        cuda.synchronize()
        started = time.perf_counter()
        done = one_rung(every, own)
        seconds = time.perf_counter() - started
        first = next(iter(own.values()))
        pairs = sum(len(own.captions) for own in every.data_set(first).splits["train"])
        reports = [each.report for each in done.values() if each.report]
        training = sum(report.metrics["measured/seconds_per_epoch"] for report in reports)
        results.row(
            f"A rung of {len(own)} trials on a host, images and captions included",
            base=quantization,
            packed=every.why_not_packed(first) or "yes",
            **{
                "s": seconds,
                "of it training": training,
                "samples/s of training": len(reports) * pairs / training if training else 0.0,
                "val/loss": " ".join(f"{report.metrics['val/loss']:.4f}" for report in reports[:3]),
                "GB at the peak": cuda.peak() / 1e9,
                "errors": sum(each.error is not None for each in done.values()),
            },
        )
        every.close()
        del every
