"""The part of METEOR's paraphrase table that can matter for given references.

Reading the whole table, 5 million pairs of phrases, takes METEOR 6 CPU-seconds and 0.5 GiB. A
pair matches only where one of its phrases stands in a reference, so for one set of references
all but some hundred thousand pairs can be left out, and no score changes. METEOR brings a tool
for that, `FilterParaphrase`, but it drops punctuation that METEOR's scoring keeps, and so pairs
that would match; what is kept here is always enough.

Filtering takes about 2 CPU-seconds, once for a set of references: the result stays in the
project's cache folder.
"""

import gzip
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.files import cache
from workers.files.atomic import atomic_path
from workers.metrics.java.phrase_table import Phrases
from workers.metrics.java.runtime import jar_folder

_VERSION = 2
"""Raise it when other pairs are kept: older files are not used again."""

_LONGEST = 7
"""Words of the longest phrase in the table."""

_BLOCK = 1 << 19
"""Bytes; what is worked out about so many still fits into the processor's cache."""
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
            cache.make(folder)
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
    with atomic_path(table) as partial:
        with gzip.open(partial, "wb", compresslevel=1) as packed:
            wanted = Phrases(readings(texts), _LONGEST)
            for block in _blocks():
                packed.write(b"".join(wanted.kept(block)))
        partial.chmod(0o644)  # a cache may be shared with other users


def readings(texts: Iterable[str]) -> Iterator[str]:
    """Yield the words of letters and digits that METEOR can find in each text, once or twice.

    METEOR's normalization splits words at punctuation, or drops it: it may write ``u.s.`` as
    ``us``. Both readings are returned, with any punctuation between words left out.
    """
    for text in texts:
        plain = _ELLIPSIS.sub(" ", text.lower())
        for reading in {plain, plain.replace(".", "")}:
            yield " ".join(_RUN.findall(reading))


def _blocks() -> Iterator[bytes]:
    """Yield the table in blocks of whole pairs, of three lines each."""
    rest = b""
    with gzip.open(whole_table()) as file:
        while block := file.read(_BLOCK):
            block = rest + block
            whole, *begun = block.rsplit(b"\n", block.count(b"\n") % 3 + 1)
            rest = b"\n".join(begun)
            yield whole + b"\n"
