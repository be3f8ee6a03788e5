"""The transformer blocks of a checkpoint, read from the names and shapes of its weights.

Configs on the hub leave out what is a default; shapes do not.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal, get_args

from workers import families
from workers.models.checkpoint_files import CheckpointFiles

Shape = tuple[int, ...]
Kind = Literal["vision", "bridge", "encoder", "decoder"]
"""In the order in which data flows. The bridge is a Q-Former, the encoder that of T5."""

_BLOCK = re.compile(r"(?P<tower>.+?)\.(?P<index>\d+)\.(?P<rest>.+)\.weight")
_QUERY = re.compile(r".*\b(query|q_proj|q|qkv|qkv_proj)")
_KEY = re.compile(r".*\b(key|k_proj|k)")
_KEY_OR_VALUE = re.compile(r".*\b(key|value|k_proj|v_proj|k|v)")
_ATTENTION = re.compile(r".*att", re.IGNORECASE)
_CROSS = re.compile(r".*(cross_?att|EncDecAttention)", re.IGNORECASE)
_PYTHON_GELU = re.compile(r".*DenseReluDense\.wi_\d")
"""T5's gated GELU is written in Python: autograd keeps each of its steps."""


@dataclass(frozen=True, kw_only=True)
class LinearLayer:
    """One linear layer of a block."""

    path: str
    inputs: int
    outputs: int

    @property
    def is_cross(self) -> bool:
        """Whether it belongs to an attention that reads another tower."""
        return bool(_CROSS.match(self.path))

    @property
    def reads_other(self) -> bool:
        """Whether its input is the other tower's output: a key or value of cross-attention."""
        return self.is_cross and bool(_KEY_OR_VALUE.fullmatch(self.path))


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of a tower: attention, perhaps cross-attention, and an MLP. Widths in values."""

    path: str
    layers: tuple[LinearLayer, ...]
    norms: int
    """Normalisations over the whole width."""
    centred: bool
    """LayerNorm, which keeps its input as it is; otherwise RMSNorm, which keeps it in float32."""

    @cached_property
    def _attention(self) -> tuple[LinearLayer, ...]:
        own = (layer for layer in self.layers if _ATTENTION.match(layer.path))
        return tuple(layer for layer in own if not layer.is_cross)

    @cached_property
    def _mlp(self) -> tuple[LinearLayer, ...]:
        return tuple(layer for layer in self.layers if not _ATTENTION.match(layer.path))

    @cached_property
    def width(self) -> int:
        """Width of the residual stream."""
        return self._attention[0].inputs

    @cached_property
    def attention(self) -> int:
        """Width of the queries of all heads."""
        return _query_width(self._attention)

    @cached_property
    def keys(self) -> int:
        """Width of the keys of all heads: fewer than the queries' where heads share them."""
        found = [layer.outputs for layer in self._attention if _KEY.fullmatch(layer.path)]
        return found[0] if found else self.attention

    @cached_property
    def cross(self) -> int:
        """Width of the queries that read another tower; 0 without cross-attention."""
        return _query_width(tuple(layer for layer in self.layers if layer.is_cross))

    @cached_property
    def mlp(self) -> int:
        """Inner width of the MLP."""
        return max((max(layer.inputs, layer.outputs) for layer in self._mlp), default=0)

    @cached_property
    def mlp_kept(self) -> int:
        """Inner activations that backward reads, in multiples of `mlp`.

        One for ``act(up x)``: the argument. Three for ``act(gate x) * up x``: both factors and
        the argument; six with T5's activation.
        """
        if len(self._mlp) < 3:
            return 1
        return 6 if any(_PYTHON_GELU.match(layer.path) for layer in self._mlp) else 3


@dataclass(frozen=True, kw_only=True)
class Tower:
    """A stack of blocks."""

    kind: Kind
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A checkpoint and its towers, read once for all estimates of a sweep."""

    files: CheckpointFiles
    towers: tuple[Tower, ...]
    """In the order in which data flows through them."""
    others: tuple[LinearLayer, ...]
    """Linear layers outside of all blocks: projections from one tower to the next, the head."""

    @classmethod
    def of(cls, files: CheckpointFiles) -> "Architecture":
        """Read the towers of a checkpoint."""
        shapes = files.shapes
        numbered = (match for match in map(_BLOCK.fullmatch, shapes) if match)
        paths = dict.fromkeys(m["tower"] for m in numbered if _QUERY.fullmatch(m["rest"]))
        blocks = {path: _blocks(path, shapes) for path in paths}
        kinds = _kinds(files.model_type, blocks)
        towers = (Tower(kind=kinds[path], blocks=own) for path, own in blocks.items())
        found = tuple(sorted(towers, key=lambda tower: get_args(Kind).index(tower.kind)))
        inside = tuple(f"{block.path}." for tower in found for block in tower.blocks)
        outside = [name for name in files.shapes if not name.startswith(inside)]
        return cls(files=files, towers=found, others=tuple(_layers(outside, files.shapes)))


def _blocks(tower: str, shapes: Mapping[str, Shape]) -> tuple[Block, ...]:
    own = [name for name in shapes if (m := _BLOCK.fullmatch(name)) and m["tower"] == tower]

    def number(name: str) -> int:
        return int(name.removeprefix(f"{tower}.").partition(".")[0])

    blocks = []
    for index, group in groupby(sorted(own, key=number), key=number):
        names, path = list(group), f"{tower}.{index}"
        layers = tuple(_layers(names, shapes))
        width = next(layer.inputs for layer in layers if _QUERY.fullmatch(layer.path))
        norms = [name for name in names if shapes[name] == (width,) and "norm" in name.lower()]
        centred = any(f"{name.removesuffix('weight')}bias" in shapes for name in norms)
        blocks.append(Block(path=path, layers=layers, norms=len(norms), centred=centred))
    return tuple(blocks)


def _layers(names: Sequence[str], shapes: Mapping[str, Shape]) -> Iterator[LinearLayer]:
    for name in names:
        if len(shapes[name]) == 2 and not name.endswith("relative_attention_bias.weight"):
            outputs, inputs = shapes[name]
            yield LinearLayer(path=name.removesuffix(".weight"), inputs=inputs, outputs=outputs)


def _query_width(layers: Sequence[LinearLayer]) -> int:
    for layer in layers:
        if _QUERY.fullmatch(layer.path):
            fused = layer.path.rpartition(".")[2].startswith("qkv")
            return layer.outputs // 3 if fused else layer.outputs
    return 0


def _kinds(model_type: str, blocks: Mapping[str, Sequence[Block]]) -> dict[str, Kind]:
    """Return each tower's kind by the family's target sets; of two texts one reads the other."""
    targets = families.get(model_type).TARGETS

    def adapted(target_set: str) -> set[str]:
        pattern = targets[target_set]
        first = {path: own[0].layers for path, own in blocks.items()}
        return {p for p, own in first.items() if any(re.fullmatch(pattern, x.path) for x in own)}

    vision, text = adapted("vision"), adapted("text_all")
    readers = {path for path in text if any(block.cross for block in blocks[path])}

    def kind(path: str) -> Kind:
        if path in vision:
            return "vision"
        if path not in text:
            return "bridge"
        return "decoder" if path in readers or not readers else "encoder"

    return {path: kind(path) for path in blocks}
