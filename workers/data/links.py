"""Images behind links: each fetched once into a folder of the cache, and read from there."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from hashlib import sha256
from pathlib import Path

from tqdm import tqdm  # type: ignore[import-untyped]

from workers.data.download import Downloader, Rules
from workers.data.images import ImageError, open_rgb
from workers.data.problems import DataError
from workers.files import cache
from workers.files.atomic import atomic_write

THREADS = 16


def is_link(image: str) -> bool:
    """Tell whether an image is named by a link, of whatever scheme, and not by a path."""
    return "://" in image


def cache_folder() -> Path:
    """Return where fetched images are kept."""
    return cache.folder() / "images"


class LinkedImages:
    """The images behind links, in a folder that any number of processes may share.

    A file in the folder is complete: it is written beside and renamed. So what an interrupted
    run has fetched is not fetched again.
    """

    def __init__(self, *, folder: Path | None = None, rules: Rules | None = None) -> None:
        self._folder = folder or cache_folder()
        self._rules = rules or Rules()
        self.failures: dict[str, str] = {}
        """Link -> why it could not be fetched, in one line."""

    def fetch(self, links: Sequence[str], progress: Callable[[int], object] | None = None) -> None:
        """Fetch those that are not in the folder, in threads; failures are noted, not raised.

        `progress` is called with the number of links that have just become done; when it is
        left out a progress bar is shown where there is a terminal.

        Raises `DataError` when the folder cannot be written.
        """
        wanted = [link for link in dict.fromkeys(links) if not self._file(link).is_file()]
        if not wanted:
            return
        self._make_folder()
        if progress:
            progress(len(links) - len(wanted))
            self._fetch(wanted, progress)
            return
        # disable=None: no bar in the log of a cluster
        with tqdm(total=len(wanted), desc="images", unit="image", disable=None) as bar:
            self._fetch(wanted, bar.update)

    def reader(self, link: str) -> Callable[[], bytes]:
        """Return a function that reads the fetched image, or raises OSError with the reason."""
        return partial(_read, self._file(link), self.failures, link)

    def _make_folder(self) -> None:
        try:
            cache.make(self._folder)
            writable = os.access(self._folder, os.W_OK)
        except OSError:
            writable = False
        if not writable:
            raise DataError(
                f"images behind links cannot be kept in {self._folder}; set {cache.VARIABLE} to a "
                "folder that can be written"
            )

    def _fetch(self, links: Iterable[str], progress: Callable[[int], object]) -> None:
        download = Downloader(self._rules)
        with ThreadPoolExecutor(THREADS) as pool:
            jobs = {pool.submit(self._keep, link, download): link for link in links}
            try:
                for job in as_completed(jobs):
                    if reason := job.result():
                        self.failures[jobs[job]] = reason
                    progress(1)
            except BaseException:  # a full disk, or Ctrl-C: do not work off the queue first
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _keep(self, link: str, download: Callable[[str], bytes]) -> str | None:
        """Put one image into the folder; return why it failed, or None."""
        try:
            content = download(link)
        except OSError as error:
            return str(error)
        try:
            open_rgb(content, "the answer")  # else a page that says sorry would stay for ever
        except ImageError as error:
            return str(error)
        atomic_write(self._file(link), content, mode=0o600)
        return None

    def _file(self, link: str) -> Path:
        return self._folder / sha256(link.encode("utf-8", "replace")).hexdigest()


def _read(file: Path, failures: dict[str, str], link: str) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise OSError(failures.get(link, f"not fetched, or removed from {file.parent}")) from error
