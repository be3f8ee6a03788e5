"""Dropout that depends on the trial and the example alone, not on what else is in the pack.

A generator's numbers depend on how many came before, and so on the neighbours, on the slot
and on padding. Here each number is a hash of what it is for: the trial's seed, the example's place
in the epoch, the layer, the position in the sequence and the feature (counter-based random numbers,
Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). The hash multiplies and shifts,
once for the position and once for the feature: shorter than theirs, and enough for a mask.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

import torch

_MASK = 0xFFFFFFFF
_ODD = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
"""Odd constants of xxHash: multiplying by them is a permutation of 32 bits."""

AHEAD = {"cpu": 2**17}
"""Most values for which masks are made at a time, by the type of the device. A mask is some twenty
operations: of few values, those of many layers cost what one costs. On a CPU more than these no
longer come from memory that is at hand, and cost several times as much."""
AHEAD_ELSEWHERE = 2**27
"""On other devices, where launches are what it costs: 128 MiB of masks, and four times as much
while they are made."""


@dataclass(frozen=True, kw_only=True)
class DropoutLayout:
    """All of a pack's dropout that stays the same from step to step, on its device."""

    thresholds: torch.Tensor
    """(slots, 1, 1) int16: a random number below it drops the value."""
    gains: torch.Tensor
    """(slots, 1, 1) float32: 1 / (1 - p), by which what is left is raised."""
    salts: Mapping[int, tuple[Sequence[int], torch.Tensor]]
    """Features -> the salts of the layers that read so many, in the order of the model, and the
    same (layers,) int32."""

    @classmethod
    def of(
        cls,
        probabilities: Sequence[float],
        device: torch.device,
        layers: Iterable[tuple[str, int]] = (),
    ) -> "DropoutLayout | None":
        """Return that of slots with these probabilities; None where nothing is dropped.

        Each slot has its own; with 0 it keeps all. `layers` are the path and the inputs of those
        that will use it: others get the same masks without, only later.
        """
        if not any(probabilities):
            return None
        thresholds = [threshold(probability) for probability in probabilities]
        gains = [1.0 / (1.0 - probability) for probability in probabilities]
        salts: dict[int, list[int]] = {}
        for path, inputs in layers:
            salts.setdefault(inputs, []).append(salt_of(path))
        return cls(
            thresholds=torch.tensor(thresholds, dtype=torch.int16)[:, None, None].to(device),
            gains=torch.tensor(gains)[:, None, None].to(device),
            salts={
                inputs: (own, torch.tensor(own, dtype=torch.int32).to(device))
                for inputs, own in salts.items()
            },
        )

    def masks(self, keys: torch.Tensor) -> "DropoutMasks":
        """Return the masks of rows with these keys (rows,) int32, equally many of each slot."""
        rows = len(keys) // len(self.thresholds)
        thresholds = self.thresholds.repeat_interleave(rows, 0, output_size=len(keys))
        return DropoutMasks(keys=keys, thresholds=thresholds, salts=self.salts)


@dataclass(kw_only=True)
class DropoutMasks:
    """The dropout of one micro-step for the rows of some slots."""

    keys: torch.Tensor
    """(rows,) int32, of all slots one after the other: a hash of the trial's seed and the example's
    place in its epoch, see `row_key`."""
    thresholds: torch.Tensor
    """(rows, 1, 1) int16: a random number below it drops the value."""
    salts: Mapping[int, tuple[Sequence[int], torch.Tensor]] = field(default_factory=dict)
    """See `DropoutLayout`."""
    _ahead: dict[tuple[int, int], dict[int, torch.Tensor]] = field(default_factory=dict)
    """(positions, features) -> salt -> a mask that is made and not used yet."""

    def kept(self, x: torch.Tensor, salt: int) -> torch.Tensor:
        """Return 1 for what is kept of `x` (slots, tokens, features) and 0 for what is dropped.

        In the shape of `x`. `salt` identifies the layer. The tokens of a slot are those of its
        rows, equally many of each.
        """
        positions = x.numel() // x.shape[-1] // self.keys.shape[0]
        features = x.shape[-1]
        ahead = self._ahead.setdefault((positions, features), {})
        if salt not in ahead:
            salts, by_layer = self.salts.get(features, ((), self.keys))
            if salt in salts:
                count = max(1, AHEAD.get(x.device.type, AHEAD_ELSEWHERE) // x.numel())
                first = salts.index(salt) // count * count
                salts, by_layer = salts[first : first + count], by_layer[first : first + count]
            else:
                salts, by_layer = (salt,), torch.full_like(self.keys[:1], salt)
            numbers = random_numbers(self.keys, by_layer, positions, features)
            # A byte per value, but on a CPU a product with bytes takes thrice as long.
            dtype = torch.float32 if numbers.device.type == "cpu" else torch.bool
            kept = torch.empty(numbers.shape, dtype=dtype, device=numbers.device)
            torch.ge(numbers, self.thresholds, out=kept)
            ahead.clear()
            ahead.update(zip(salts, kept, strict=True))
        return ahead.pop(salt).view(x.shape)

    def at(self, rows: torch.Tensor, places: torch.Tensor) -> "DropoutMasks":
        """Return the masks of single tokens, (tokens,) rows and places, as rows of their own."""
        keys = _mixed(self.keys[rows] + places.int() * (_ODD[1] - (1 << 32)), _ODD[2])
        return DropoutMasks(keys=keys, thresholds=self.thresholds[rows])


def random_numbers(
    keys: torch.Tensor, salts: torch.Tensor, positions: int, features: int
) -> torch.Tensor:
    """Return numbers (salts, rows, positions, features), uniform over all values of int16.

    Each hash is 32 bits, which are the numbers of two features. `keys` (rows,) and `salts` are
    int32.
    """
    by_position = _multiples(positions, _ODD[1], keys.device)
    by_pair = _multiples((features + 1) // 2, _ODD[2], keys.device)
    mixed = _mixed((keys ^ salts[:, None])[..., None] + by_position, _ODD[0])
    hashes = _mixed(mixed[..., None] + by_pair, _ODD[1])
    return hashes.view(torch.int16)[..., :features]


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
    """Return the smallest int16 that keeps its value: of 2^16 numbers, p 2^16 are below it."""
    return min(round(probability * 2**16), 2**16 - 1) - 2**15


@lru_cache(maxsize=256)
def _multiples(count: int, odd: int, device: torch.device) -> torch.Tensor:
    """Return 0, odd, 2 odd, ... modulo 2^32, as int32 (count,)."""
    values = torch.arange(count, dtype=torch.int64, device=device) * odd & _MASK
    return values.to(torch.int32)


def _mixed(values: torch.Tensor, odd: int) -> torch.Tensor:
    """Scramble int32 numbers; in place, for they are many."""
    values ^= _upper(values, 15)
    values *= odd - (1 << 32)
    return values.bitwise_xor_(_upper(values, 16))


def _upper(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Shift int32 numbers right without their sign, which `>>` repeats: it would cancel itself."""
    return (values >> bits).bitwise_and_((1 << (32 - bits)) - 1)
