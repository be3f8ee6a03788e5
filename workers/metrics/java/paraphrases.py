"""The part of METEOR's paraphrase table that can matter for given references.

Reading the whole table, 5 million pairs of phrases, takes METEOR 6 CPU-seconds and 0.5 GiB. A
pair matches only where one of its phrases stands in a reference, so for one set of references
all but some hundred thousand pairs can be left out, and no score changes. METEOR brings a tool
for that, `FilterParaphrase`, but it drops punctuation that METEOR's scoring keeps, and so pairs
that would match; what is kept here is always enough.

Filtering takes about 2 CPU-seconds, once for a set of references: the result stays in the
project's cache folder. Looking each phrase up in a Python set costs more than unpacking the file,
so a block's phrases are hashed all at once, from their first and last eight bytes and their
length, and looked up in a Bloom filter (Bloom 1970). It never overlooks a wanted phrase; the few
others that it takes for one do no harm.
"""

import gzip
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.files import cache
from workers.files.atomic import atomic_path
from workers.metrics.java.runtime import jar_folder

_VERSION = 2
"""Raise it when other pairs are kept: older files are not used again."""

_LONGEST = 7
"""Words of the longest phrase in the table."""

_BLOCK = 1 << 19
"""Bytes; what is worked out about so many still fits into the processor's cache."""
_RUN = re.compile("[a-z0-9]+")
_ELLIPSIS = re.compile(r"\.{2,}")

_WORD = 8
"""Bytes that are hashed at either end of a phrase."""
_PAD = b"\n" * _WORD
_ROOM = 32
"""Places in the filter for each phrase; with two probes one other in 250 passes."""
_HALF = np.uint64(32)
_ODD = bytes(chr(byte) not in "abcdefghijklmnopqrstuvwxyz0123456789 \n" for byte in range(256))
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
Places = NDArray[np.int64]


def whole_table() -> Path:
    """Return the table that comes with METEOR."""
    return jar_folder("pycocoevalcap.meteor") / "data" / "paraphrase-en.gz"


def table_for(references: Iterable[str]) -> Path:
    """Return a table that scores captions against `references` as the whole one does.

    That is the whole one where the cache folder cannot be written.
    """
    texts = sorted(set(references))
    folder = cache.folder() / "paraphrases"
    key = "\n".join([f"{_VERSION} {whole_table().stat().st_size}", *texts])
    name = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16]
    table = folder / f"{name}.gz"
    if not os.access(table, os.R_OK):
        try:
            cache.make(folder)
            with atomic_path(table) as partial:
                with gzip.open(partial, "wb", compresslevel=1) as packed:
                    wanted = Phrases(readings(texts))
                    for block in _blocks():
                        packed.write(b"".join(wanted.kept(block)))
                partial.chmod(0o644)  # a cache may be shared with other users
        except OSError:
            return whole_table()
    return table


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


class Phrases:
    """The phrases of texts like those of `readings`, made to filter blocks of the table."""

    def __init__(self, texts: Iterable[str]) -> None:
        block = "".join(f"{text}\n" for text in texts if text).encode()
        runs = (_runs(block, words) for words in range(1, _LONGEST + 1))
        hashes = np.concatenate([_hashes(block, *run) for run in runs])
        room = _ROOM * len(np.unique(hashes))
        self._filter = np.zeros(1 << max(20, room.bit_length()), np.bool_)
        for places in self._probes(hashes):
            self._filter[places] = True

    def kept(self, block: bytes) -> Iterator[bytes]:
        """Yield runs of the block's pairs that hold a wanted phrase, or one with other letters.

        `block` is whole pairs. A phrase with any but plain letters, digits and blanks is always
        kept: METEOR may read it in more than one way.
        """
        stops = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        starts = np.zeros_like(stops)
        starts[1:] = stops[:-1] + 1
        first, second = self._probes(_hashes(block, starts, stops))
        keep = self._filter[first]
        keep[keep] = self._filter[second[keep]]
        odd = np.flatnonzero(np.frombuffer(block.translate(_ODD), np.bool_))
        keep[np.searchsorted(stops, odd)] = True
        pairs = keep[1::3] | keep[2::3]  # whatever the probability looks like
        edges = np.flatnonzero(np.diff(pairs, prepend=False, append=False))
        begins, ends = starts[0::3][edges[0::2]], stops[2::3][edges[1::2] - 1] + 1
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            yield block[begin:end]

    def _probes(self, hashes: NDArray[np.uint64]) -> tuple[Places, Places]:
        """Return two places in the filter for each hash."""
        mask = np.uint64(len(self._filter) - 1)
        return (hashes >> _HALF & mask).view(np.int64), (hashes & mask).view(np.int64)


def _runs(block: bytes, words: int) -> tuple[Places, Places]:
    """Return where each run of so many words of one line starts and stops: (runs,)."""
    letters = np.frombuffer(block, np.uint8)
    stops = np.flatnonzero((letters == ord(" ")) | (letters == ord("\n")))
    starts = np.roll(stops, 1) + 1
    starts[:1] = 0
    lines = np.cumsum(letters[stops] == ord("\n")) - (letters[stops] == ord("\n"))
    last = max(0, len(stops) - words + 1)
    whole = lines[:last] == lines[len(lines) - last :]
    return starts[:last][whole], stops[len(stops) - last :][whole]


def _hashes(block: bytes, starts: Places, stops: Places) -> NDArray[np.uint64]:
    """Return a hash of each line's first and last bytes and its length: (lines,)."""
    padded = _PAD + block + _PAD
    words: NDArray[np.uint64] = np.ndarray((len(padded) - _WORD + 1,), "<u8", padded, strides=(1,))
    # A line shorter than a word fills only part of it; what its neighbours left is shifted out.
    lengths = stops - starts
    spare = np.clip(8 * (_WORD - lengths), 0, 63).view(np.uint64)
    first, last = words[starts + _WORD] << spare, words[stops] >> spare
    sizes = lengths.view(np.uint64) * _FACTORS[0]
    mixed: NDArray[np.uint64] = (first * _FACTORS[0] ^ last) * _FACTORS[1] + sizes
    mixed = (mixed ^ (mixed >> _HALF)) * _FACTORS[1]
    return mixed ^ (mixed >> _HALF)
