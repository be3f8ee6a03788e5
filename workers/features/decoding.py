"""Decoders: processes that make the pixels of images before a step needs them.

To decode a photo and to put it through a model's processor takes about 10 ms of one core, a
hundred times what a GPU's image encoder takes for it. In a thread of the host that would hold up
the training even where there are cores to spare: each operation of torch lets go of Python's lock,
and would have to wait for it. What decoders make lies in files which all hosts of the machine
read, so that an image is decoded once for all of them and for all quantizations of a base.
"""

import hashlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cache as cached
from functools import cached_property
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL
import torch
import transformers

from workers.data.images import ImageError
from workers.data.sample import Sample
from workers.families.base import Base, Encoded, Family
from workers.families.pixel_bytes import as_bytes
from workers.features.files import TensorFiles
from workers.files import cache

DISK_BYTES = 16 * 1024**3
"""Disk for the pixels of all processors."""
MOST_DECODERS = 8
"""Most decoders of a host: more than a few cores are rarely idle."""
MOST_QUEUED = 512
"""Most images that decoders are given ahead."""
UNTAKEN_SECONDS = 60.0
"""So long one of them may wait to be taken before others may have its place."""
QUEUED_BYTES = 2**30
"""Memory for those of them that do not fit on disk; then there are fewer."""
_PRELOADED = ("__main__", "workers.features.decoding", "transformers.image_processing_utils")
"""What the process that forks decoders imports."""
_CONFIG = ("model_type", "image_token_id", "image_token_index")
"""What a family reads of a model's config when it encodes an image."""

Made = dict[str, "np.ndarray[Any, Any]"] | None
"""What a decoder returns: nothing where it has written a file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelSource:
    """All that the pixels of one split are made from; other processes get it by pickle."""

    base: Base
    """Without a model: processor and family alone."""
    samples: Sequence[Sample]
    as_bytes: bool
    """Whether pixels are made as bytes, see `workers.families.pixel_bytes`."""

    @classmethod
    def of(cls, base: Base, samples: Sequence[Sample]) -> "PixelSource":
        """Return what the images of `samples` become for a base."""
        processor, model = base.processor, base.model
        if type(base.family).encode is Family.encode:  # which reads the image processor alone
            processor = SimpleNamespace(image_processor=processor.image_processor)
            model = None
        else:
            config = {name: getattr(model.config, name, None) for name in _CONFIG}
            model = SimpleNamespace(config=SimpleNamespace(**config))
        bare = replace(base, model=model, processor=processor, device=torch.device("cpu"))
        return cls(base=bare, samples=samples, as_bytes=base.pixel_bytes is not None)

    def make(self, index: int) -> Encoded:
        """Decode an image and prepare it.

        Raises what opening it raises, and `ImageError` for one that the processor refuses.
        """
        encode = as_bytes if self.as_bytes else self.base.family.encode
        image = self.samples[index].open()
        try:
            return encode(self.base, image)
        except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
            size = f"{image.width} x {image.height} pixels"
            raise ImageError(
                f"{self.samples[index].id}: the base's image processor refuses it ({size}): {error}"
            ) from error

    def key(self, index: int) -> str | None:
        """Return the digest of all that decides the pixels of an image; None for a drawn one."""
        own = self.samples[index].digest
        whole = f"{self.processor_digest} {own}"
        return own and hashlib.sha256(whole.encode()).hexdigest()[:32]

    @cached_property
    def processor_digest(self) -> str:
        """Digest of all that turns an image into pixels; what is equal may have several."""
        versions = PIL.__version__, np.__version__, torch.__version__, transformers.__version__
        parts = type(self.base.family).__name__, self.base.processor, self.base.model, versions
        return hashlib.sha256(pickle.dumps(parts)).hexdigest()[:32]

    @property
    def folder(self) -> str:
        """Name of the folder of their files: bytes and numbers lie in folders of their own."""
        return f"{self.processor_digest}-bytes" if self.as_bytes else self.processor_digest


@dataclass(frozen=True)
class _ExpectedImage:
    future: "Future[Made]"
    since: float = field(default_factory=time.monotonic)


class DecoderPool:
    """The decoders of one host, which start with the first image that is expected.

    What they make is in files that the hosts of a machine share, as far as there is room, and
    otherwise comes back through a pipe. An image that was not expected, or that none of them has
    begun when it is needed, is made here. One that they could not make raises what they raised;
    where a decoder died over it a second time, by itself, an `ImageError` says so.
    """

    def __init__(self, count: int, folder: Path | None = None, limit: int = DISK_BYTES) -> None:
        """Take the number of decoders, and where pixels lie; None is the cache."""
        self._count, self._limit = count, limit
        self._folder = folder or cache.folder() / "pixels"
        self._pool: ProcessPoolExecutor | None = None
        self._ahead: dict[tuple[PixelSource, int], _ExpectedImage] = {}
        """Images that are expected, except for those that lie in a file by now.

        A thread of the pool takes those away, so go through a copy.
        """
        self._largest = 1
        """Bytes of the largest image that came back through a pipe."""
        self._files: dict[PixelSource, TensorFiles] = {}
        self._given: dict[PixelSource, Path | None] = {}
        """The file by which decoders know a source; None for one that they cannot be given."""
        self._own = Path(tempfile.mkdtemp(prefix="sweeps-decoders-"))

    @property
    def queued(self) -> int:
        """Images that are expected and not made yet."""
        return sum(not each.future.done() for each in list(self._ahead.values()))

    def start(self) -> None:
        """Begin to import what decoders need, in the process that forks them; returns at once."""
        _context()
        forkserver.ensure_running()

    def has(self, source: PixelSource, index: int) -> bool:
        """Return whether `take` has nothing to wait for."""
        expected = self._ahead.get((source, index))
        if expected and expected.future.done():
            return not expected.future.exception()
        key = source.key(index)
        return key is not None and key in self._files_of(source)

    def expect(self, source: PixelSource, index: int) -> None:
        """Let decoders make an image, unless it is there or too many are expected already."""
        if (source, index) in self._ahead or self.has(source, index):
            return
        if len(self._ahead) >= min(MOST_QUEUED, QUEUED_BYTES // self._largest):
            self._forget_untaken()
            return
        if (path := self._path(source)) is None:
            return
        key = source.key(index)
        file = key and (self._folder / source.folder, key)
        future = self._submit(path, index, file or None, self._limit)
        self._ahead[source, index] = _ExpectedImage(future)
        future.add_done_callback(lambda made: self._made(source, index, made))

    def take(self, source: PixelSource, index: int) -> Encoded:
        """Return the pixels of an image; waits for a decoder that is at work on it."""
        expected = self._ahead.pop((source, index), None)
        if expected and not expected.future.cancel():  # some decoder has begun
            made = self._result(expected.future, source, index)
            if made is not None:
                return {name: torch.from_numpy(array) for name, array in made.items()}
        files, key = self._files_of(source), source.key(index)
        if key is None:
            return source.make(index)
        if (found := files.get(key)) is not None:
            return found
        encoded = source.make(index)
        files.put(key, encoded)
        return encoded

    def close(self) -> None:
        """End the decoders and remove their files."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        self._ahead.clear()
        folders = {self._folder / source.folder for source in self._files}
        for folder in (self._own, *folders):
            shutil.rmtree(folder, ignore_errors=True)

    def _forget_untaken(self) -> None:
        """Forget images that nobody has taken for long, such as those of a trial that stopped."""
        long_ago = time.monotonic() - UNTAKEN_SECONDS
        for key, each in list(self._ahead.items()):
            if each.since < long_ago and each.future.done():
                self._ahead.pop(key, None)

    def _made(self, source: PixelSource, index: int, future: "Future[Made]") -> None:
        """Forget an image that lies in a file, and notice the size of one that does not."""
        if future.cancelled() or future.exception():
            return
        if (made := future.result()) is None:
            self._ahead.pop((source, index), None)
        else:
            size = sum(array.nbytes for array in made.values())
            self._largest = max(self._largest, size)

    def _result(self, future: "Future[Made]", source: PixelSource, index: int) -> Made:
        """Return what a decoder made; of several that a death took, each is tried by itself."""
        try:
            return future.result()
        except BrokenProcessPool:
            path = self._given[source]
            assert path is not None, "decoders know what they began"
        try:
            with _executor(1) as alone:
                return alone.submit(_make, path, index, None, 0).result()
        except BrokenProcessPool as error:
            raise ImageError(
                f"{source.samples[index].id}: the process that decodes it died, twice: the file is "
                "damaged, or takes more memory than there is; leave it out, or write it anew"
            ) from error

    def _submit(self, *arguments: Any) -> "Future[Made]":
        try:
            self._pool = self._pool or _executor(self._count)
            return self._pool.submit(_make, *arguments)
        except BrokenProcessPool:
            self._pool = _executor(self._count)
            return self._pool.submit(_make, *arguments)

    def _files_of(self, source: PixelSource) -> TensorFiles:
        if source not in self._files:
            self._files[source] = TensorFiles(self._folder / source.folder, self._limit)
        return self._files[source]

    def _path(self, source: PixelSource) -> Path | None:
        if source not in self._given:
            path = self._own / f"{len(self._given)}.pickle"
            try:
                path.write_bytes(pickle.dumps(source))
            except Exception as error:  # pickle raises nearly anything; or the disk is full
                warnings.warn(
                    f"images are decoded by the process that trains, decoders cannot be given "
                    f"this data set: {error}",
                    stacklevel=2,
                )
                self._given[source] = None
            else:
                self._given[source] = path
        return self._given[source]


def _executor(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        count, mp_context=_context(), initializer=_begin, initargs=(Path.cwd(),)
    )


def _context() -> ForkServerContext:
    """Return the context of processes that are forked from one which has imported what they need.

    Forked from the host itself, they would inherit locks that its other threads hold.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


def _begin(folder: Path) -> None:
    """Prepare a decoder: the host's folder, one core, no Ctrl-C, an end with the host."""
    os.chdir(folder)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    host = multiprocessing.parent_process()
    assert host is not None
    threading.Thread(target=_end_with, args=(host,), daemon=True).start()


def _end_with(host: BaseProcess) -> None:
    host.join()
    os._exit(0)


def _make(path: Path, index: int, file: tuple[Path, str] | None, limit: int) -> Made:
    """Make the pixels of an image, in a decoder; write them to a folder under a key, or return."""
    folder, key = file or (None, "")
    files = folder and _files(folder, limit)
    if files and key in files:  # another host has been faster
        return None
    encoded = _source(path).make(index)
    if files and files.put(key, encoded):
        return None
    return {name: tensor.numpy() for name, tensor in encoded.items()}


@cached
def _source(path: Path) -> PixelSource:
    source: PixelSource = pickle.loads(path.read_bytes())
    return source


@cached
def _files(folder: Path, limit: int) -> TensorFiles:
    return TensorFiles(folder, limit)
