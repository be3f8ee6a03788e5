"""Dropout that depends on the trial and the example alone, not on what else is in the pack.

A generator's numbers depend on how many were drawn before, and so on the neighbours, on the slot
and on padding. Here each number is a hash of what it is for: the trial's seed, the example's place
in the epoch, the layer, the position in the sequence and the feature (counter-based random numbers,
Salmon et al. 2011). The hash is that of Steele et al. (2014) cut to 32 bits: two rounds of
multiplication and shift, enough for a mask.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import torch

_MASK = 0xFFFFFFFF
_ODD = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
"""Odd constants of xxHash: multiplying by them is a permutation of 32 bits."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What the dropout of one micro-step needs of each row of the batch."""

    keys: torch.Tensor
    """(rows,) int32: a hash of the trial's seed and the example's place in its epoch."""
    thresholds: torch.Tensor
    """(rows, 1, 1) int32: a draw below it drops the value."""
    gains: torch.Tensor
    """(rows, 1, 1) float32: 1 / (1 - p)."""

    def applied(self, x: torch.Tensor, salt: int) -> torch.Tensor:
        """Return `x` (slots, tokens, features) with some values 0 and the others raised.

        `salt` tells layers apart. All rows of the batch have equally many tokens in `x`.
        """
        rows = self.keys.shape[0]
        by_row = x.view(rows, -1, x.shape[-1])
        kept = draws(self.keys, salt, by_row.shape[1], by_row.shape[2]) >= self.thresholds
        return (by_row * kept * self.gains).view(x.shape)


def draws(keys: torch.Tensor, salt: int, positions: int, features: int) -> torch.Tensor:
    """Return uniform int32 numbers (rows, positions, features)."""
    by_position = _multiples(positions, _ODD[1], keys.device)
    by_feature = _multiples(features, _ODD[2], keys.device)
    mixed = _mixed((keys ^ salt)[:, None] + by_position)
    return _mixed(mixed[:, :, None] + by_feature)


def row_key(seed: int, epoch: int, place: int) -> int:
    """Return the key of the example at `place` in the order of an epoch, as a signed integer."""
    mixed = seed & _MASK
    for value in (epoch, place):
        mixed = (mixed * _ODD[0] + value + 1) & _MASK
        mixed = ((mixed ^ (mixed >> 15)) * _ODD[1]) & _MASK
        mixed ^= mixed >> 13
    return mixed - (1 << 32) if mixed >> 31 else mixed


@cache
def salt_of(path: str) -> int:
    """Return the salt of a layer, the same in every process."""
    value = zlib.crc32(path.encode())
    return value - (1 << 32) if value >> 31 else value


def threshold(probability: float) -> int:
    """Return the smallest int32 draw that keeps its value."""
    return min(round(probability * 2**32), 2**32 - 1) - 2**31


def of_rows(
    keys: Sequence[int], probabilities: Sequence[float], device: torch.device
) -> Draws | None:
    """Return the draws for rows with these keys and dropouts; None where nothing is dropped."""
    if not any(probabilities):
        return None
    thresholds = [threshold(probability) for probability in probabilities]
    gains = [1.0 / (1.0 - probability) for probability in probabilities]
    return Draws(
        keys=torch.tensor(keys, dtype=torch.int32, device=device),
        thresholds=torch.tensor(thresholds, dtype=torch.int32, device=device)[:, None, None],
        gains=torch.tensor(gains, device=device)[:, None, None],
    )


@lru_cache(maxsize=256)
def _multiples(count: int, odd: int, device: torch.device) -> torch.Tensor:
    values = torch.arange(count, dtype=torch.int64) * odd & _MASK
    return values.to(torch.int32).to(device)


def _mixed(values: torch.Tensor) -> torch.Tensor:
    """Scramble int32 numbers; in place, for they are many."""
    for shift, odd in ((15, _ODD[1]), (13, _ODD[2])):
        values ^= values >> shift
        values *= odd - (1 << 32)
    return values.bitwise_xor_(values >> 16)
