"""Runs the parts, each in a process of its own, and writes the page after each: see `gpu.sh`."""

import argparse
import multiprocessing
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gpu.parts import MACHINE, PARTS, Part
from benchmarks.gpu.results import Results, as_markdown, read
from benchmarks.gpu.setting import Setting

NEEDED = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "numpy",
    "PIL",
    "pydantic",
    "platformdirs",
    "filelock",
)
PRELOADED = (
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.git.modeling_git",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
    "torch._inductor.compile_fx",  # which bitsandbytes imports
)
"""What takes longest to import, and does not touch the GPU."""
LEAST = 5.0
"""Seconds in which no part gets anywhere."""
REFRESH = 5.0
"""Seconds after which the page is written again while a part runs."""


def main() -> int:
    """Run all parts; return how many failed."""
    options = _options()
    started = time.monotonic()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(
            f"{sys.executable} lacks {', '.join(missing)}; where there is a network, run "
            "python -m benchmarks.gpu.fetch_wheels FOLDER, and bring them with --wheels FOLDER"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("results.jsonl", "results.md", "log.txt"):
        (options.out / name).unlink(missing_ok=True)
    results = Results(options.out / "results.jsonl")
    with TemporaryDirectory(prefix="gpu-") as scratch:
        setting = Setting(rehearsal=options.rehearse, scratch=Path(scratch))
        return _run(setting, results, started + 60 * options.minutes)


def _run(setting: Setting, results: Results, end: float) -> int:
    """Run all parts by `end`, by the monotonic clock."""
    # The parts are forks of this process, which must not touch the GPU: no fork could use it then.
    for module in PRELOADED:
        with suppress(ImportError):
            import_module(module)
    multiprocessing.set_start_method("fork")
    if not _done(MACHINE, setting, results, end):
        multiprocessing.set_start_method("spawn", force=True)
        if not _done(MACHINE, setting, results, end):
            sys.exit("nothing can be measured here, see above; --rehearse tries it on a CPU")
    return sum(not _done(part, setting, results, end) for part in PARTS)


def _done(part: Part, setting: Setting, results: Results, end: float) -> bool:
    """Run a part in a process of its own within its time and what is left of all; tell its end."""
    own, began = replace(results, part=part.key), time.monotonic()
    limit = min(part.seconds, end - began)
    if limit < LEAST:
        own.outcome("Not run, no time was left", 0.0)
        _write_page(results)
        return True
    print(f"({part.key}) {part.title}, at most {limit:.0f} s", flush=True)
    process = multiprocessing.get_context().Process(target=_measure, args=(part, setting, own))
    process.start()
    assert process.pid
    try:
        while process.is_alive() and time.monotonic() < began + limit:
            process.join(min(REFRESH, max(0.0, began + limit - time.monotonic())))
            _write_page(results)
    finally:
        in_time = not process.is_alive()
        process.kill()
        _end(process.pid)  # what it has started
        process.join()
    seconds = time.monotonic() - began
    if not in_time:
        own.outcome(f"Stopped at its limit of {limit:.0f} s", seconds)
    elif process.exitcode and process.exitcode < 0:
        own.outcome(f"Ended by {signal.Signals(-process.exitcode).name}, see log.txt", seconds)
    print(_write_page(results, part.key), flush=True)
    return in_time and process.exitcode == 0


def _measure(part: Part, setting: Setting, results: Results) -> None:
    """Run a part in this process, which ends with 1 when it fails; its output goes to a log."""
    os.setpgid(0, 0)
    log = os.open(results.file.with_name("log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    print(f"\n({part.key}) {part.title}", flush=True)
    began = time.monotonic()
    try:
        if setting.rehearsal:
            import torch

            torch.set_num_threads(1)
        measure = getattr(import_module(f"benchmarks.gpu.{part.module}"), part.function)
        measure(setting, results)
    except BaseException:
        results.outcome("Failed", time.monotonic() - began, traceback.format_exc())
        sys.exit(1)
    results.outcome("Done", time.monotonic() - began)


def _end(group: int) -> None:
    """Kill what is left of a process group."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _write_page(results: Results, part: str = "") -> str:
    """Write the page, and return the section of a part."""
    lines = read(results.file)
    titles = {each.key: each.title for each in (MACHINE, *PARTS)}
    results.file.with_name("results.md").write_text(as_markdown(lines, titles))
    own = {key: title for key, title in titles.items() if key == part}
    return as_markdown([line for line in lines if line["part"] == part], own).partition("\n\n")[2]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=__doc__)
    parser.add_argument(
        "--rehearse", action="store_true", help="the same with tiny shapes on a CPU"
    )
    parser.add_argument("--wheels", help="folder of wheels that Python lacks here")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(os.environ.get("OUT", "gpu-results")),
        help="folder for results.md, results.jsonl and log.txt; else $OUT, else gpu-results",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
