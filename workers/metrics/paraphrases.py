"""The part of METEOR's paraphrase table that can matter for given references.

Reading the whole table, 5 million pairs of phrases, takes METEOR 6 CPU-seconds and 0.5 GiB. A
pair matches only where one of its phrases stands in a reference, so for one set of references
all but some hundred thousand pairs can be left out, and no score changes. METEOR brings a tool
for that, `FilterParaphrase`, but it drops punctuation that METEOR's scoring keeps, and so pairs
that would match; what is kept here is always enough.

Filtering takes about 4 CPU-seconds, once for a set of references: the result stays in the
project's cache folder.
"""

import gzip
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from workers import cache
from workers.metrics.java import jar_folder

_VERSION = 1
"""Raise it when other pairs are kept: older files are not used again."""

_LONGEST = 7
"""Words of the longest phrase in the table."""

_BLOCK = 1 << 24
_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789 "
_RUN = re.compile("[a-z0-9]+")
_ELLIPSIS = re.compile(r"\.{2,}")


def whole_table() -> Path:
    """Return the table that comes with METEOR."""
    return jar_folder("pycocoevalcap.meteor") / "data" / "paraphrase-en.gz"


def table_for(references: Iterable[str]) -> Path:
    """Return a table that scores captions against `references` as the whole one does.

    That is the whole one where the cache folder cannot be written.
    """
    texts = sorted(set(references))
    folder = cache.folder() / "paraphrases"
    table = folder / f"{_name(texts)}.gz"
    if not os.access(table, os.R_OK):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(table, texts)
        except OSError:
            return whole_table()
    return table


def _name(texts: list[str]) -> str:
    size = whole_table().stat().st_size
    text = "\n".join([f"{_VERSION} {size}", *texts])
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _write(table: Path, texts: list[str]) -> None:
    """Write the filtered table in one step, so that others see all of it or nothing."""
    with tempfile.NamedTemporaryFile(dir=table.parent, delete=False) as file:
        try:
            with gzip.open(file, "wb", compresslevel=1) as packed:
                packed.writelines(_kept(phrases(texts)))
            file.close()
            os.chmod(file.name, 0o644)  # a cache may be shared with other users
            os.replace(file.name, table)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise


def phrases(texts: Iterable[str]) -> set[bytes]:
    """Return all phrases of letters and digits that METEOR can find in `texts`.

    METEOR's normalization splits words at punctuation, or drops it: it may write ``u.s.`` as
    ``us``. Both readings are returned, with any punctuation between words left out.
    """
    found: set[bytes] = set()
    for text in texts:
        plain = _ELLIPSIS.sub(" ", text.lower())
        for reading in {plain, plain.replace(".", "")}:
            words = _RUN.findall(reading)
            for start in range(len(words)):
                stops = range(start + 1, min(start + _LONGEST, len(words)) + 1)
                found.update(" ".join(words[start:stop]).encode() for stop in stops)
    return found


def _kept(wanted: set[bytes]) -> Iterator[bytes]:
    """Yield the pairs with a phrase that is wanted, or with other than letters and digits."""
    for block in _blocks():
        yield b"".join(
            b"%b\n%b\n%b\n" % pair
            for pair in zip(block[0::3], block[1::3], block[2::3], strict=True)
            if pair[1] in wanted or pair[2] in wanted or (pair[1] + pair[2]).translate(None, _PLAIN)
        )


def _blocks() -> Iterator[list[bytes]]:
    """Yield the lines of the table, in blocks of whole pairs: probability, phrase, phrase."""
    rest = b""
    with gzip.open(whole_table()) as file:
        while block := file.read(_BLOCK):
            lines = (rest + block).split(b"\n")
            whole = (len(lines) - 1) // 3 * 3
            rest = b"\n".join(lines[whole:])
            yield lines[:whole]
