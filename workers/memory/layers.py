"""The transformer blocks of a checkpoint, and the lengths of the rows that they read.

Both come from the names and shapes of its weights: configs on the hub leave out what is a default,
shapes do not.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal, get_args

from workers import families
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Recipe

Shape = tuple[int, ...]
Kind = Literal["vision", "bridge", "encoder", "decoder"]
"""In the order in which data flows. The bridge is a Q-Former, the encoder that of T5."""

PICTURE = 640 * 640
"""Pixels of an image whose own size decides its tokens: COCO's are at most 640 x 640."""
TEMPLATE_TOKENS = 24
"""Tokens of a chat template with its system prompt, or of the tokens around a prompt."""
LETTERS_PER_TOKEN = 3
"""UTF-8 bytes of a text for each of its tokens, on the small side."""
QUESTION_TOKENS = 20
TARGET_TOKENS: Mapping[str, int] = {"captioning": 64, "vqa": 32}
"""Tokens of the longest caption or answer of data that is not read yet, unless
``evaluate.max_new_tokens`` is more."""

_BLOCK = re.compile(r"(?P<tower>.+?)\.(?P<index>\d+)\.(?P<rest>.+)\.weight")
_QUERY = re.compile(r".*\b(query|q_proj|q|qkv|qkv_proj)")
_KEY = re.compile(r".*\b(key|k_proj|k)")
_KEY_OR_VALUE = re.compile(r".*\b(key|value|k_proj|v_proj|k|v)")
_LEADS_IN = re.compile(r"(query|key|value|[qkv](_proj)?|gate_proj|up_proj|wi_\d)")
"""Layers of one folder that read the same tensor; all others have an input of their own."""
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
    def input(self) -> str:
        """A name for its input: that of queries, keys and values is one tensor, as of a gate."""
        folder, _, name = self.path.rpartition(".")
        return f"{folder} {self.reads_other}" if _LEADS_IN.fullmatch(name) else self.path

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


@dataclass(frozen=True, kw_only=True)
class RowLengths:
    """The tokens of one row: one image with its prompt and its caption or answer."""

    vision: int
    """Tokens of the vision tower."""
    image: int
    """Tokens of an image in the language model."""
    prompt: int
    learned: int
    """Tokens of caption or answer that have a label."""

    @property
    def read(self) -> int:
        """Tokens before the first that is learned."""
        return self.image + self.prompt


@dataclass(frozen=True, kw_only=True)
class DataExtent:
    """Sizes of a data set that memory depends on, known once it is read."""

    images: int
    question: int
    """UTF-8 bytes of the longest question; 0 where there are none."""
    caption: int
    """The same of the captions or answers that are learned."""


def row_of(recipe: Recipe, files: CheckpointFiles, data: DataExtent | None = None) -> RowLengths:
    """Return the lengths that are expected of a recipe's longest rows.

    What only the data could tell is assumed while they are not read, on the large side;
    docs/memory.md has the list. No target is longer than the model's positions.
    """
    vision, text = vision_tokens(files), recipe.prompt.text
    if text is None:
        text = files.family.PROMPTS.get(recipe.task, "")
    letters = len(text) + len(recipe.prompt.system or "")
    question = QUESTION_TOKENS if recipe.task == "vqa" else 0
    learned = max(TARGET_TOKENS[recipe.task], recipe.evaluate.max_new_tokens)
    if data is not None:
        question = math.ceil(data.question / LETTERS_PER_TOKEN) if recipe.task == "vqa" else 0
        learned = math.ceil(data.caption / LETTERS_PER_TOKEN) + 1  # the end of text
    prompt = TEMPLATE_TOKENS + question + math.ceil(letters / LETTERS_PER_TOKEN)
    config = files.config.get("text_config") or files.config
    positions = config.get("max_position_embeddings")
    return RowLengths(
        vision=vision,
        image=image_tokens(files.shapes, vision),
        prompt=prompt,
        learned=min(learned, positions) if positions else learned,
    )


def vision_tokens(files: CheckpointFiles) -> int:
    """Return the tokens of the vision tower: its positions, or the patches of a `PICTURE`."""
    for name, shape in files.shapes.items():
        seeing = any(word in name for word in ("vision", "visual", "image_encoder"))
        if seeing and "position_embedding" in name:
            return shape[-2]
    shapes = files.shapes.items()
    patch = next((s for name, s in shapes if "patch_embed" in name and len(s) > 3), ())
    fewest, most = files.pixels or (PICTURE, PICTURE)
    pixels = min(max(PICTURE, fewest), most)
    return math.ceil(pixels / (patch[-1] * patch[-2])) if patch else 0


def image_tokens(shapes: Mapping[str, Shape], vision: int) -> int:
    """Return the tokens that stand for an image: of a Q-Former its queries, else merged patches."""
    if "query_tokens" in shapes:
        return shapes["query_tokens"][1]
    joined = next((s[1] for name, s in shapes.items() if name.endswith("merger.mlp.0.weight")), 0)
    width = next((s[0] for name, s in shapes.items() if name.endswith("merger.ln_q.weight")), 1)
    return math.ceil(vision / (joined // width)) if joined else vision
