"""Decoders beside one thread that decodes: `python -m benchmarks.decoding --help`.

Both make the pixels that GIT takes of the same photos, one after the other in each round: what one
thread of the host makes in a step, and what decoders make ahead of it. Then a loop of short
operations, which stands for training that is bound by launches, runs alone, beside a thread that
decodes, and beside decoders. With fewer cores than decoders and the loop need, the ratios are below
what they would be.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import psutil
import torch
import typer
from PIL import Image

from benchmarks.tables import print_table
from benchmarks.usage import MIB
from workers import families
from workers.data.images import open_rgb
from workers.data.sample import Sample
from workers.families.base import Base
from workers.features.decoding import DecoderPool, PixelSource

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SIDE = {"height": 224, "width": 224}
OPERATIONS = 100_000


@app.command()
def main(
    images: Annotated[int, typer.Option(help="Photos in a round.")] = 300,
    workers: Annotated[int, typer.Option(help="Decoders.")] = 4,
    rounds: int = 5,
) -> None:
    """Compare the images per second of both, and what each does to a training loop."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        source = PixelSource.of(_git(), _photos(Path(folder) / "photos", images))
        rows, loops, memory = [], [], []
        for number in range(rounds):
            pool = DecoderPool(workers, Path(folder) / f"pixels-{number}")
            pool.expect(source, 0)  # starts them
            pool.take(source, 0)
            alone, threads = _in_a_thread(source), _in_threads(source, workers)
            ahead = _ahead(pool, source)
            memory.append(_memory())
            again = _ahead(pool, source)
            pool.close()
            rows.append([alone, threads, ahead, threads / alone, ahead / alone, again / alone])
            loops.append(_loops(source, workers, Path(folder) / f"loop-{number}"))
    print_table(
        ["round", "a thread /s", f"{workers} threads /s", f"{workers} decoders /s", "threads ratio",
         "decoders ratio", "from files ratio", "decoders MiB"],
        [[str(number + 1), *(f"{value:.0f}" for value in row[:3]),
          *(f"{value:.2f}" for value in row[3:]), f"{memory[number]:.0f}"]
         for number, row in enumerate(rows)],
    )  # fmt: skip
    middle = [median(values) for values in zip(*loops, strict=True)]
    print(f"loop beside a thread that decodes: {middle[0]:.2f} times alone; beside a decoder: "
          f"{middle[1]:.2f} times")  # fmt: skip


def _git() -> Base:
    """Return GIT's processor, with the values of its base checkpoint, and no model."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)
    return Base(
        model=None,
        processor=SimpleNamespace(image_processor=processor),
        family=families.get("git"),
        device=torch.device("cpu"),
    )


def _photos(folder: Path, count: int) -> list[Sample]:
    """Write JPEGs of 640 x 480 pixels with detail at several scales, like photos."""
    folder.mkdir()
    chance, samples = np.random.default_rng(0), []
    for number in range(count):
        whole = np.zeros((480, 640, 3))
        for scale in (1, 4, 16, 64):
            coarse = chance.integers(0, 256, (480 // scale, 640 // scale, 3), dtype=np.uint8)
            whole += np.asarray(
                Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
            )
        path = folder / f"{number}.jpg"
        Image.fromarray((whole / 4).astype(np.uint8)).save(path, quality=90)
        digest = sha256(path.read_bytes()).hexdigest()
        samples.append(
            Sample(id=path.name, open=partial(open_rgb, path), captions=("?",), digest=digest)
        )
    return samples


def _rate(count: int, started: float) -> float:
    return count / (time.perf_counter() - started)


def _in_a_thread(source: PixelSource) -> float:
    started = time.perf_counter()
    for index in range(len(source.samples)):
        source.make(index)
    return _rate(len(source.samples), started)


def _in_threads(source: PixelSource, count: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(source.make, range(len(source.samples))))
    return _rate(len(source.samples), started)


def _ahead(pool: DecoderPool, source: PixelSource) -> float:
    """Take images which decoders alone have made."""
    started = time.perf_counter()
    for index in range(len(source.samples)):
        pool.expect(source, index)
    for index in range(len(source.samples)):
        while not pool.has(source, index):
            time.sleep(0.001)
        pool.take(source, index)
    return _rate(len(source.samples), started)


def _memory() -> float:
    """Return the MiB of all decoders; what several share counts once."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_full_info().pss for child in children) / MIB**2


def _loops(source: PixelSource, workers: int, folder: Path) -> tuple[float, float]:
    """Return the time of a loop beside a thread and beside a decoder, in terms of it alone."""
    alone = _loop()
    with _beside(source.make, len(source.samples)):
        thread = _loop()
    pool = DecoderPool(1, folder)
    pool.expect(source, 0)
    pool.take(source, 0)
    for index in range(len(source.samples)):
        pool.expect(source, index)
    decoder = _loop()
    pool.close()
    return thread / alone, decoder / alone


def _loop() -> float:
    started, numbers = time.perf_counter(), torch.ones(4, 4)
    for _ in range(OPERATIONS):
        torch.add(numbers, numbers)
    return time.perf_counter() - started


@contextmanager
def _beside(work: Any, count: int) -> Iterator[None]:
    """Do some work again and again in another thread."""
    over = threading.Event()

    def repeat() -> None:
        index = 0
        while not over.is_set():
            work(index % count)
            index += 1

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    app()
