"""Which pairs of METEOR's paraphrase table hold a wanted phrase, found a block at a time.

The table has 5 million pairs of three lines each: probability, phrase, phrase. Looking each
phrase up in a Python set costs more than unpacking the file, so a block's phrases are hashed all
at once, from their first and last eight bytes and their length, and looked up in a Bloom filter
(Bloom 1970). It never overlooks a wanted phrase; the few others that it takes for one do no harm.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

_WORD = 8
"""Bytes that are hashed at either end of a phrase."""
_PAD = b"\n" * _WORD
_ROOM = 32
"""Places in the filter for each phrase; with two probes one other in 250 passes."""
_HALF = np.uint64(32)
_ODD = bytes(chr(byte) not in "abcdefghijklmnopqrstuvwxyz0123456789 \n" for byte in range(256))
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
Places = NDArray[np.int64]


class Phrases:
    """The phrases of some texts, made to filter blocks of the table.

    Args:
        texts: words of lower-case letters and digits, with single blanks between them.
        longest: words of the longest phrase.
    """

    def __init__(self, texts: Iterable[str], longest: int) -> None:
        block = "".join(f"{text}\n" for text in texts if text).encode()
        hashes = np.concatenate(
            [_hashes(block, *_runs(block, words)) for words in range(1, longest + 1)]
        )
        room = _ROOM * len(np.unique(hashes))
        self._filter = np.zeros(1 << max(20, room.bit_length()), np.bool_)
        for places in self._probes(hashes):
            self._filter[places] = True

    def kept(self, block: bytes) -> Iterator[bytes]:
        """Yield runs of the block's pairs that hold a wanted phrase, or one with other letters.

        `block` is whole pairs. A phrase with any but plain letters, digits and blanks is always
        kept: METEOR may read it in more than one way.
        """
        starts, stops = _lines(block)
        keep = self._has(block, starts, stops)
        odd = np.flatnonzero(np.frombuffer(block.translate(_ODD), np.bool_))
        keep[np.searchsorted(stops, odd)] = True
        pairs = keep[1::3] | keep[2::3]  # whatever the probability looks like
        edges = np.flatnonzero(np.diff(pairs, prepend=False, append=False))
        begins, ends = starts[0::3][edges[0::2]], stops[2::3][edges[1::2] - 1] + 1
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            yield block[begin:end]

    def _has(self, block: bytes, starts: Places, stops: Places) -> NDArray[np.bool_]:
        """Return which lines are in the filter: (lines,)."""
        first, second = self._probes(_hashes(block, starts, stops))
        found = self._filter[first]
        found[found] = self._filter[second[found]]
        return found

    def _probes(self, hashes: NDArray[np.uint64]) -> tuple[Places, Places]:
        """Return two places in the filter for each hash."""
        mask = np.uint64(len(self._filter) - 1)
        return (hashes >> _HALF & mask).view(np.int64), (hashes & mask).view(np.int64)


def _lines(block: bytes) -> tuple[Places, Places]:
    """Return where each line of the block starts and where its line feed stands: (lines,)."""
    stops = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    starts = np.zeros_like(stops)
    starts[1:] = stops[:-1] + 1
    return starts, stops


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
    mixed: NDArray[np.uint64] = (first * _FACTORS[0] ^ last) * _FACTORS[1] + lengths.view(
        np.uint64
    ) * _FACTORS[0]
    mixed = (mixed ^ (mixed >> _HALF)) * _FACTORS[1]
    return mixed ^ (mixed >> _HALF)
