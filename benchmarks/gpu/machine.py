"""The machine that is measured, and what is written to it before."""

import multiprocessing

import torch

from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.ladder import machine
from benchmarks.packing import sizes


def measure(setting: Setting, results: Results) -> None:
    """Describe the machine, and write the checkpoint that several parts read."""
    if not setting.rehearsal:
        free, total = torch.cuda.mem_get_info()
        results.note(
            f"{torch.cuda.get_device_name()}, {total / 1e9:.1f} GB, {free / 1e9:.1f} GB free; "
            f"CUDA {torch.version.cuda}"
        )
    results.note("; ".join(f"{name} {value}" for name, value in machine.description().items()))
    results.note(f"processes are started by {multiprocessing.get_start_method()}")
    sizes.build(setting.git, setting.checkpoint, setting.device)
