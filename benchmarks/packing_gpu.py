"""How fast several adapters train on one device: plain, side by side in processes, or packed.

    python -m benchmarks.packing_gpu                                  # a GPU, real sizes
    python -m benchmarks.packing_gpu --tiny --device cpu              # tries the script itself

Real sizes have random weights, so nothing is downloaded; no Ray is needed. Each way runs in new
processes, which train one adapter each (or a pack of them) on the same images, begin together
after some steps of warm-up, and are timed until the last one is done. The rivals find whole
batches on the device, behind the frozen vision tower; the pack makes its own of each slot's rows.
B1, B2 and B3 are those of `benchmarks.ladder`.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

from benchmarks import mps
from benchmarks.ladder import machine
from benchmarks.packing.case import Case
from benchmarks.packing.packed import is_here as packing_is_here
from benchmarks.packing.sizes import SIZES, build
from benchmarks.packing.ways import Speed, Way, measure
from benchmarks.tables import print_table

STEPS_PER_TRIAL = 1000
COLUMNS = (
    "model",
    "batch",
    "base",
    "way",
    "adapters",
    "steps/s",
    "trials/h",
    "GiB",
    "by best rival",
)


def ways(options: argparse.Namespace) -> Iterator[Way]:
    """Yield all ways, rivals first."""
    yield Way(name="B1 plain")
    yield Way(name="B3 compiled", compiled=True)
    for processes in options.processes:
        yield Way(name=f"B2 {processes} processes", processes=processes)
        if options.device != "cpu":
            yield Way(name=f"B2 {processes} processes, MPS", processes=processes, mps=True)
    if packing_is_here():
        for slots in options.slots:
            yield Way(name=f"P {slots} slots", slots=slots)


def why_not(way: Way, case: Case) -> str | None:
    """Return why a way cannot be tried here, or None."""
    if way.mps:
        return mps.unavailable()
    if way.compiled and not (shutil.which("c++") or shutil.which("g++")):
        return "torch.compile needs a C++ compiler, and there is none on the PATH"
    return None


def tried(way: Way, case: Case) -> Speed | str:
    """Return what a way reached, or in a line why it did not."""
    reason = why_not(way, case)
    if reason:
        return reason
    sharing: AbstractContextManager[dict[str, str]] = mps.running() if way.mps else nullcontext({})
    try:
        with sharing as clients, patch.dict("os.environ", clients):
            return measure(case, way)
    except Exception as error:  # out of memory, a graph that does not compile: a result as well
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"


def compare(case: Case, options: argparse.Namespace) -> list[list[str]]:
    """Measure all ways for one case and return their rows."""
    reached: dict[Way, Speed] = {}
    for way in ways(options):
        found = tried(way, case)
        if isinstance(found, Speed):
            reached[way] = found
            print(f"{case.model} {way.name}: {found.steps_per_second:.1f} steps/s", flush=True)
        else:
            print(f"{case.model} {way.name}: skipped, {found}", flush=True)
    rivals = [speed.steps_per_second for way, speed in reached.items() if not way.slots]
    return [_row(case, way, speed, max(rivals, default=0.0)) for way, speed in reached.items()]


def _row(case: Case, way: Way, speed: Speed, rival: float) -> list[str]:
    rate = speed.steps_per_second
    return [
        case.model, str(case.batch), case.quantization, way.name, str(way.adapters),
        f"{rate:.1f}", f"{rate * 3600 / STEPS_PER_TRIAL:.0f}", f"{speed.gib:.1f}",
        f"{rate / rival:.2f}" if rival else "",
    ]  # fmt: skip


def built(name: str, device: str, folder: Path) -> Path:
    """Return the folder of a checkpoint, built in a process of its own."""
    target = folder / name
    process = get_context("spawn").Process(target=build, args=(name, target, device))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{name} was not built: its process ended with {process.exitcode}")
    return target


def main() -> None:
    """Measure and print."""
    options = _options()
    print("; ".join(f"{name} {value}" for name, value in machine.description().items()))
    if not packing_is_here():
        print("packed: skipped, this version has no workers.packing")
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="packing-") as folder:
        for name in options.models:
            checkpoint = built(name, options.device, Path(folder))
            for batch in options.batch:
                for quantization in options.quantization:
                    case = Case(
                        model=name, folder=str(checkpoint), batch=batch, device=options.device,
                        quantization=quantization, steps=options.steps, warmup=options.warmup,
                        dropout=options.dropout,
                    )  # fmt: skip
                    rows += compare(case, options)
            shutil.rmtree(checkpoint)
    print()
    print_table(COLUMNS, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.packing_gpu", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true", help="tiny models and few of everything")
    parser.add_argument("--models", type=_names, help=", ".join(SIZES))
    parser.add_argument("--batch", type=_numbers, help="examples of an adapter in a step")
    parser.add_argument("--quantization", type=_names, help="none, nf4, ...")
    parser.add_argument("--processes", type=_numbers, help="of B2")
    parser.add_argument("--slots", type=_numbers, help="of P")
    parser.add_argument("--steps", type=int, default=60, help="that are timed")
    parser.add_argument("--warmup", type=int, default=20, help="steps before")
    parser.add_argument("--dropout", type=float, default=0.05)
    options = parser.parse_args()
    for name, value in (_TINY if options.tiny else _REAL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


_REAL = {
    "models": ["git-base", "qwen2.5-vl-3b", "paligemma-3b"], "batch": [1, 4, 8],
    "quantization": ["none", "nf4"], "processes": [2, 4, 8], "slots": [1, 2, 4, 8, 16],
}  # fmt: skip
_TINY = {
    "models": ["tiny-git", "tiny-qwen2.5-vl", "tiny-paligemma"], "batch": [2],
    "quantization": ["none"], "processes": [2], "slots": [1, 4],
}  # fmt: skip


if __name__ == "__main__":
    main()
