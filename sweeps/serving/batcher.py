"""Captions of concurrent calls, written together: one thread that owns the model."""

import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from workers.inference.captioner import BATCH, Captioner, Prepared

WAIT = 0.005
"""Seconds for which an image waits for others to be written with."""
FIXED = 16
"""What an image costs beside its tokens, in tokens: the image encoder and the prompt."""

T = TypeVar("T")


class Call:
    """Images that were submitted together."""

    def __init__(self) -> None:
        self.captions: list[Future[str]] = []
        """Of each image, in order."""
        self.end = 0
        """Sum at which the last of them is written, see `Batcher`."""

    def cancel(self) -> None:
        """Have no more of its images written."""
        for caption in self.captions:
            caption.cancel()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Image:
    captioner: Captioner
    prepared: Prepared
    begin: int
    came: float = field(default_factory=time.monotonic)
    caption: "Future[str]" = field(default_factory=Future)

    @property
    def kind(self) -> tuple[int, int]:
        """Images of one kind can share a `generate`."""
        return id(self.captioner), self.prepared.max_new_tokens

    @property
    def end(self) -> int:
        """Sum at which it is written, see `Batcher`."""
        return self.begin + FIXED + self.prepared.max_new_tokens


class Batcher:
    """Writes captions batch by batch, and does between batches what changes the model.

    A batch begins `WAIT` after its first image came, and after the batch before, whose clients may
    call again; or as soon as it has `BATCH` images. Calls have fair shares (start-time fair
    queueing, Goyal et al. 1996): the costs of a call's images are added up, and the image with the
    lowest sum is next, so that a small call passes large ones.
    """

    def __init__(self) -> None:
        self.images = 0
        """Images written so far."""
        self.batches = 0
        """Calls of `generate` so far."""
        self.held = 0
        """Bytes of the images that wait or are written now."""
        self._open = True
        self._now = 0
        self._ended = 0.0
        self.waiting: list[_Image] = []
        """Images that no `generate` has begun with, in the order of their turns."""
        self._tasks: deque[Callable[[], None]] = deque()
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, captioner: Captioner, images: Iterable[Prepared], call: Call) -> None:
        """Have images of a call written, also with others; may be called by any thread."""
        with self._change:
            for prepared in images:
                begin = max(call.end, self._now)
                image = _Image(captioner=captioner, prepared=prepared, begin=begin)
                call.end = image.end
                call.captions.append(image.caption)
                insort(self.waiting, image, key=lambda each: each.end)
                self.held += prepared.size
            self._change.notify()

    def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, or raise what it raises, when called between batches."""
        result: Future[T] = Future()

        def task() -> None:
            try:
                result.set_result(function())
            except Exception as error:  # it is raised where the result is waited for
                result.set_exception(error)

        with self._change:
            self._tasks.append(task)
            self._change.notify()
        return result.result()

    def close(self, seconds: float | None = None) -> bool:
        """End the thread after all that was submitted before; return whether it has ended.

        With `seconds`, what has not begun is given up, and what runs has so long to end.
        """
        with self._change:
            self._open = False
            if seconds is not None:
                for image in self.waiting:
                    image.caption.cancel()
            self._change.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self.waiting or self._tasks or not self._open)
                if not (self.waiting or self._tasks):
                    return
                batch = self._collect()
            if batch:
                self._write(batch)
                self._ended = time.monotonic()
            with self._change:
                self.held -= sum(image.prepared.size for image in batch)
                tasks, self._tasks = self._tasks, deque()
            for task in tasks:
                task()

    def _collect(self) -> list[_Image]:
        """Take the images that are to be written next: the first, and others of its kind."""
        if self.waiting:
            first = min(image.came for image in self.waiting)
            until = max(first, self._ended) + WAIT
            self._change.wait_for(
                lambda: len(self.waiting) >= BATCH or self._tasks or not self._open,
                timeout=max(until - time.monotonic(), 0.0),
            )
        batch: list[_Image] = []
        left: list[_Image] = []
        for image in self.waiting:
            if len(batch) == BATCH or (batch and image.kind != batch[0].kind):
                left.append(image)
            elif image.caption.set_running_or_notify_cancel():
                batch.append(image)
            else:  # its call was cancelled
                self.held -= image.prepared.size
        self.waiting = left
        if batch:
            self._now = max(self._now, batch[0].begin)
        return batch

    def _write(self, images: Sequence[_Image]) -> None:
        """Write images of one kind; where that fails, each alone: one is to blame, not all."""
        self.batches += 1
        try:
            captions = images[0].captioner.write([image.prepared for image in images])
        except Exception as error:  # it is raised where the caption is waited for
            if len(images) == 1:
                images[0].caption.set_exception(error)
            else:
                for image in images:
                    self._write([image])
            return
        self.images += len(images)
        for image, caption in zip(images, captions, strict=True):
            image.caption.set_result(caption)
