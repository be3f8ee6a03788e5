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
from benchmarks.usage import MIB, Usage, measured
from workers import families
from workers.data.images import open_rgb
from workers.data.sample import Sample
from workers.families.base import Base
from workers.features.decoding import DecoderPool, PixelSource

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SIDE = {"height": 224, "width": 224}
OPERATIONS = 200_000


@app.command()
def main(
    images: Annotated[int, typer.Option(help="Photos in a round.")] = 300,
    workers: Annotated[int, typer.Option(help="Decoders.")] = 4,
    rounds: int = 5,
) -> None:
    """Compare the images per second of both, and what each does to a training loop."""
    torch.set_num_threads(1)
    rows, loops = [], []
    with tempfile.TemporaryDirectory() as folder:
        source = PixelSource.of(_git(), _photos(Path(folder) / "photos", images))
        for number in range(rounds):
            pool = _started(source, workers, Path(folder) / f"pixels-{number}")
            thread, threads = _in_threads(source, 1), _in_threads(source, workers)
            made, before = _ahead(pool, source), _memory()
            read, after = _ahead(pool, source), _memory()
            pool.close()
            rates = [images / used.wall for used in (thread, threads, made, read)]
            costs = [1e3 * used.cpu / images for used in (thread, threads, made)]
            ratios = [rate / rates[0] for rate in rates[1:]]
            rows.append([*rates, *ratios, *costs, before, after])
            loops.append(_loops(source, Path(folder) / f"loop-{number}"))
    kinds = ("1 thread", f"{workers} threads", f"{workers} decoders", "files")
    columns = [*(f"{kind} /s" for kind in kinds), *(f"{kind} ratio" for kind in kinds[1:])]
    columns += [*(f"{kind} CPU ms" for kind in kinds[:3]), "MiB after one pass", "after two"]
    shown = [
        [str(number + 1), *(f"{value:.{2 if 4 <= at < 7 else 1}f}" for at, value in enumerate(row))]
        for number, row in enumerate(rows)
    ]
    print_table(["round", *columns], shown)
    beside = [median(values) for values in zip(*loops, strict=True)]
    print(f"a loop of short operations takes {beside[0]:.2f} times as long beside a thread that "
          f"decodes, {beside[1]:.2f} times beside a decoder")  # fmt: skip


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


def _started(source: PixelSource, count: int, folder: Path) -> DecoderPool:
    """Return decoders that have made one image, with all that they import for it."""
    pool = DecoderPool(count, folder)
    pool.expect(source, 0)
    pool.take(source, 0)
    return pool


def _in_threads(source: PixelSource, count: int) -> Usage:
    with measured() as used, ThreadPoolExecutor(count) as pool:
        list(pool.map(source.make, range(len(source.samples))))
    return used


def _ahead(pool: DecoderPool, source: PixelSource) -> Usage:
    """Take images that decoders alone have made, now or before."""
    with measured() as used:
        for index in range(len(source.samples)):
            pool.expect(source, index)
        for index in range(len(source.samples)):
            while not pool.has(source, index):
                time.sleep(0.005)
            pool.take(source, index)
    return used


def _memory() -> float:
    """Return the MiB of all decoders; what several share counts once."""
    children = psutil.Process().children(recursive=True)
    return float(sum(child.memory_full_info().pss for child in children)) / MIB**2


def _loops(source: PixelSource, folder: Path) -> tuple[float, float]:
    """Return the time of a loop beside a thread and beside a decoder, in terms of it alone."""
    alone = _loop()
    with _beside(source.make, len(source.samples)):
        thread = _loop()
    pool = _started(source, 1, folder)
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
