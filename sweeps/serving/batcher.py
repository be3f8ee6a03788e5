"""Images of concurrent calls, written together: one thread that owns the model."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from workers.captioner import BATCH, Captioner, Prepared, batches

WAIT = 0.005
"""Seconds for which an image waits for others to be written with."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Image:
    captioner: Captioner
    prepared: Prepared
    came: float = field(default_factory=time.monotonic)
    caption: "Future[str]" = field(default_factory=Future)

    @property
    def kind(self) -> tuple[int, int]:
        """Images of one kind can share a `generate`."""
        return id(self.captioner), self.prepared.max_new_tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    function: Callable[[], Any]
    result: "Future[Any]" = field(default_factory=Future)

    def do(self) -> None:
        try:
            self.result.set_result(self.function())
        except Exception as error:  # it is raised where it was asked for
            self.result.set_exception(error)


class Batcher:
    """Writes captions batch by batch, and does between batches what changes the model.

    A batch begins `WAIT` after its first image came, or as soon as it has `BATCH` images.
    """

    def __init__(self) -> None:
        self.images = 0
        """Images written so far."""
        self.batches = 0
        """Calls of `generate` so far."""
        self._open = True
        self._queue: queue.SimpleQueue[_Image | _Task] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, captioner: Captioner, prepared: Prepared) -> "Future[str]":
        """Have an image written together with others; may be called by any thread."""
        image = _Image(captioner=captioner, prepared=prepared)
        self._queue.put(image)
        return image.caption

    def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, or raise what it raises, when called between batches."""
        task = _Task(function=function)
        self._queue.put(task)
        result: T = task.result.result()
        return result

    def close(self) -> None:
        """End the thread after all that was handed in before."""
        self.run(self._end)
        self._thread.join()

    def _end(self) -> None:
        self._open = False

    def _work(self) -> None:
        while self._open:
            images, task = self._collect(self._queue.get())
            waiting = [image for image in images if image.caption.set_running_or_notify_cancel()]
            for group in batches(waiting, lambda image: image.kind):
                self._write(group)
            if task is not None:
                task.do()

    def _collect(self, entry: _Image | _Task) -> tuple[list[_Image], _Task | None]:
        """Return the images that are to be written next, and what is to be done after them."""
        images: list[_Image] = []
        while isinstance(entry, _Image):
            images.append(entry)
            if len(images) == BATCH:
                return images, None
            left = images[0].came + WAIT - time.monotonic()
            try:
                entry = self._queue.get(timeout=max(left, 0.0))
            except queue.Empty:
                return images, None
        return images, entry

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
