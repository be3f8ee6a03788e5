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
from typing import Any, Literal, get_args

from workers.families.base import Family
from workers.models.checkpoint_files import CheckpointFiles
from workers.recipe import Model, Recipe

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
_QUERY = re.compile(r".*\b(query|q_proj|q|qkv|qkv_proj|in_proj_qkv)(\.linear)?")
_FUSED = re.compile(r".*\b(qkv|qkv_proj|in_proj_qkv)(\.linear)?")
_KEY = re.compile(r".*\b(key|k_proj|k)(\.linear)?")
_RECURRENT = re.compile(r".*\bin_proj_qkv")
"""Of a linear attention, which keeps a state of one size in place of keys and values."""
_EXPERTS = re.compile(r".*\bexperts\.down_proj")
"""The matrices of all experts of a block in one, (experts, inner width, width) or transposed."""
_PER_TOKEN = ("num_experts_per_tok", "moe_k", "top_k_experts")
"""Fields of a config that say how many experts each token goes through."""
_CROSS_GATE = re.compile(r".*\bcross_attn_attn_gate")
"""Of a block that reads the image itself, in place of tokens of it."""
_PATCH = re.compile(r".*patch_(embed\w*|conv)\b.*\.weight")
_SOFT_TOKENS = ("mm_tokens_per_image", "vision_soft_tokens_per_image")
"""Fields of a config that say how many tokens the language model gets for an image."""
_MERGED = (
    *("spatial_merge_size", "scale_factor", "downsample_factor"),
    *("downsample_ratio", "pixel_shuffle_ratio"),
)
"""Fields that say how many patches become one token: on each side, or one by that."""
_EYES = re.compile(r".*(vision|visual|image_(encoder|tower))")
_TILES = (
    *("do_image_splitting", "image_grid_pinpoints", "crop_to_patches", "do_pan_and_scan"),
    *("max_image_tiles", "max_slice_nums", "max_tiles", "max_patches"),
)
"""Settings of an image processor that cuts large images into tiles."""
_TILED = frozenset({"idefics3", "smolvlm", "mllama", "llama4", "cohere2_vision", "lfm2_vl"})
"""Model types whose processor does so unless it says otherwise, which it need not save."""
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
    """One block of a tower: attention, or what is in its place, and an MLP. Widths in values."""

    path: str
    layers: tuple[LinearLayer, ...]
    width: int
    """Width of the residual stream."""
    experts: int
    """Inner width of all experts together that a token goes through; 0 without experts."""
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
    def attention(self) -> int:
        """Width of the queries of all heads."""
        return _query_width(self._attention)

    @cached_property
    def keys(self) -> int:
        """Width of the keys of all heads: fewer than the queries' where heads share them.

        0 where none are kept for the tokens to come.
        """
        found = [layer.outputs for layer in self._attention if _KEY.fullmatch(layer.path)]
        kept = not any(_RECURRENT.match(layer.path) for layer in self._attention)
        return found[0] if found else self.attention if kept else 0

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
    left_out: tuple[str, ...]
    """What takes memory and is not known of it, in words."""

    @classmethod
    def of(cls, files: CheckpointFiles) -> "Architecture":
        """Read the towers of a checkpoint."""
        shapes = files.shapes
        numbered = (match for match in map(_BLOCK.fullmatch, shapes) if match)
        paths = dict.fromkeys(m["tower"] for m in numbered if _QUERY.fullmatch(m["rest"]))
        blocks = {path: _blocks(path, shapes, files.config) for path in paths}
        kinds = _kinds(files.family, blocks)
        towers = (Tower(kind=kinds[path], blocks=own) for path, own in blocks.items())
        found = tuple(sorted(towers, key=lambda tower: get_args(Kind).index(tower.kind)))
        inside = tuple(f"{block.path}." for tower in found for block in tower.blocks)
        outside = [name for name in files.shapes if not name.startswith(inside)]
        return cls(
            files=files,
            towers=found,
            others=tuple(_layers(outside, files.shapes)),
            left_out=tuple(_left_out(files, found)),
        )


def _left_out(files: CheckpointFiles, towers: Sequence[Tower]) -> Iterator[str]:
    """Yield what an estimate of the memory does not have."""
    kinds = {tower.kind for tower in towers}
    if "decoder" not in kinds:
        yield "activations of the language model, whose blocks are not recognised"
    if "vision" not in kinds:
        yield "activations of the image encoder, whose blocks are not recognised"
    if not vision_tokens(files):
        yield "the tokens of an image, whose patches are not recognised"
    elif files.model_type in _TILED or any(map(files.image_settings.get, _TILES)):
        yield "the further tiles of a large image: counted is one"


def _blocks(
    tower: str, shapes: Mapping[str, Shape], config: Mapping[str, Any]
) -> tuple[Block, ...]:
    own = [name for name in shapes if (m := _BLOCK.fullmatch(name)) and m["tower"] == tower]

    def number(name: str) -> int:
        return int(name.removeprefix(f"{tower}.").partition(".")[0])

    width = next(shapes[name][1] for name in own if _QUERY.fullmatch(name.removesuffix(".weight")))
    text = config.get("text_config") or config
    each = next((text[name] for name in _PER_TOKEN if isinstance(text.get(name), int)), 1)
    blocks = []
    for index, group in groupby(sorted(own, key=number), key=number):
        names, path = list(group), f"{tower}.{index}"
        layers = tuple(_layers(names, shapes))
        norms = [name for name in names if shapes[name] == (width,) and "norm" in name.lower()]
        centred = any(f"{name.removesuffix('weight')}bias" in shapes for name in norms)
        stacked = (
            shape
            for name, shape in shapes.items()
            if name.startswith(f"{path}.") and _EXPERTS.fullmatch(name) and len(shape) == 3
        )
        experts = each * sum(s[1] * s[2] // width for s in stacked)
        blocks.append(
            Block(
                path=path,
                layers=layers,
                width=width,
                experts=experts,
                norms=len(norms),
                centred=centred,
            )
        )
    return tuple(blocks)


def _layers(names: Sequence[str], shapes: Mapping[str, Shape]) -> Iterator[LinearLayer]:
    for name in names:
        if len(shapes[name]) == 2 and not name.endswith("relative_attention_bias.weight"):
            outputs, inputs = shapes[name]
            yield LinearLayer(path=name.removesuffix(".weight"), inputs=inputs, outputs=outputs)


def _query_width(layers: Sequence[LinearLayer]) -> int:
    for layer in layers:
        if _QUERY.fullmatch(layer.path):
            return layer.outputs // 3 if _FUSED.fullmatch(layer.path) else layer.outputs
    return 0


def _kinds(family: Family, blocks: Mapping[str, Sequence[Block]]) -> dict[str, Kind]:
    """Return each tower's kind by the family's target sets; of two texts one reads the other."""

    def adapted(target_set: str) -> set[str]:
        pattern = re.compile(family.TARGETS[target_set])
        layers = {
            path: [x.path for block in own for x in block.layers] for path, own in blocks.items()
        }
        return {path for path, own in layers.items() if any(map(pattern.fullmatch, own))}

    vision, text = adapted("vision"), adapted("text_all")
    readers = {path for path in text if any(block.cross for block in blocks[path])}

    def kind(path: str) -> Kind:
        if path in vision or (path not in text and _EYES.match(path)):
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


def row_of(
    recipe: Recipe,
    files: CheckpointFiles,
    data: DataExtent | None = None,
    image: int | None = None,
) -> RowLengths:
    """Return the lengths that are expected of a recipe's longest rows, of `image` tokens if known.

    What only the data could tell is assumed while they are not read, on the large side;
    docs/memory.md has the list. No target is longer than the model's positions.
    """
    vision, text = vision_tokens(files, recipe.model), recipe.prompt.text
    usual = image_tokens(files, vision)
    if image is not None:
        vision, usual = math.ceil(vision * image / usual) if usual else vision, image
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
        image=usual,
        prompt=prompt,
        learned=min(learned, positions) if positions else learned,
    )


def vision_tokens(files: CheckpointFiles, model: Model | None = None) -> int:
    """Return the tokens of the vision tower: its positions, or the patches of a `PICTURE`.

    A model's own limits of pixels come before those of the processor.
    """
    for name, shape in files.shapes.items():
        seeing = any(word in name for word in ("vision", "visual", "image_encoder"))
        table = len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)
        if seeing and table and "position_embedding" in name:
            return shape[-2]
    patches = (shape for name, shape in files.shapes.items() if _PATCH.fullmatch(name))
    area = next(map(_patch_area, patches), 0)
    fewest, most = files.pixels or (0, PICTURE)
    if model is not None and files.pixels is not None:
        fewest, most = model.min_pixels or fewest, model.max_pixels or most
    size = files.image_settings.get("size")
    if isinstance(size, Mapping) and {"height", "width"} <= size.keys():
        fewest = most = size["height"] * size["width"]
    pixels = min(max(PICTURE, fewest), most)
    return math.ceil(pixels / area) if area else 0


def _patch_area(shape: Shape) -> int:
    """Return the pixels of a patch from its embedding: a convolution, or a matrix over all values.

    That of an architecture which reads videos, too, has two pictures at a time.
    """
    if len(shape) > 2:
        return shape[-1] * shape[-2]
    area = shape[1] // 3
    return area if math.isqrt(area) ** 2 == area else area // 2


def image_tokens(files: CheckpointFiles, vision: int) -> int:
    """Return the tokens that stand for an image: of a Q-Former its queries, else merged patches."""
    shapes = files.shapes
    if "query_tokens" in shapes:
        return shapes["query_tokens"][1]
    if any(map(_CROSS_GATE.match, shapes)):
        return 1  # for what other blocks read by cross-attention
    for config in (files.config, files.config.get("vision_config") or {}):
        if number := next((config[name] for name in _SOFT_TOKENS if config.get(name)), 0):
            return int(number)
        if merged := next((config[name] for name in _MERGED if config.get(name)), 0):
            return math.ceil(vision / max(merged, 1 / merged) ** 2)
    joined = next((s[1] for name, s in shapes.items() if name.endswith("merger.mlp.0.weight")), 0)
    width = next((s[0] for name, s in shapes.items() if name.endswith("merger.ln_q.weight")), 1)
    return math.ceil(vision / (joined // width)) if joined else vision
