"""Images behind links: each fetched once into a folder of the cache, and read from there."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from hashlib import sha256
from pathlib import Path

from tqdm import tqdm  # type: ignore[import-untyped]

from workers.data.download import Downloader, Rules
from workers.data.images import ImageError, open_rgb
from workers.data.sample import DataError
from workers.files import cache
from workers.files.atomic import atomic_write

THREADS = 16


def is_link(image: str) -> bool:
    """Tell whether an image is named by a link, of whatever scheme, and not by a path."""
    return "://" in image


class LinkedImages:
    """The images behind links, in a folder of the cache that any number of processes may share.

    A file in the folder is complete: it is written beside and renamed. So what an interrupted
    run has fetched is not fetched again.
    """

    def __init__(self, rules: Rules) -> None:
        self._folder = cache.folder() / "images"
        self._rules = rules
        self.failures: dict[str, str] = {}
        """Link -> why it could not be fetched, in one line."""

    def fetch(self, links: Sequence[str]) -> None:
        """Fetch those that are not in the folder, in threads; failures are noted, not raised.

        Raises `DataError` when the folder cannot be written.
        """
        wanted = [link for link in dict.fromkeys(links) if not self._file(link).is_file()]
        if not wanted:
            return
        try:
            cache.make(self._folder)
        except OSError as error:
            raise DataError(f"images behind links cannot be kept: {error}") from error
        download = Downloader(self._rules)
        # disable=None: no bar in the log of a cluster
        bar = tqdm(total=len(wanted), desc="images", unit="image", disable=None)
        with bar, ThreadPoolExecutor(THREADS) as pool:
            jobs = {pool.submit(self._keep, link, download): link for link in wanted}
            try:
                for job in as_completed(jobs):
                    if reason := job.result():
                        self.failures[jobs[job]] = reason
                    bar.update()
            except BaseException:  # a full disk, or Ctrl-C: do not work off the queue first
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def reader(self, link: str) -> Callable[[], bytes]:
        """Return a function that reads the fetched image, or raises OSError with the reason."""
        return partial(_read, self._file(link), self.failures, link)

    def _keep(self, link: str, download: Downloader) -> str | None:
        """Put one image into the folder; return why it failed, or None."""
        try:
            content = download(link)
            open_rgb(content, "the answer")  # else an error page would be kept as an image
        except (OSError, ImageError) as error:
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
