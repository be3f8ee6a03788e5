"""Configs with small widths and one layer of each kind, of any architecture.

A config is a dictionary with others inside, one for each part of the model. Nothing is known of its
architecture: fields are told by their names, and kinds of layers by the lists that tell them apart.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEAD, MOST_LAYERS = 32, 16, 8
"""Width of the hidden states and of an attention head; most layers of one part."""
_LEAST_LAYERS = 2
"""What one layer does with an image token, no other token has read yet."""
_FIELDS: Mapping[str, Any] = {
    r"initializer_range|init_std": 0.08,
    r"(.*_)?heads": 2,
    r"qk_head_dim": 2 * HEAD,
    r"d_kv|(.*_)?head_dim": HEAD,
    r".*_lora_rank|laurel_rank": HEAD // 2,
    r"(.*_)?(intermediate_size|ffn_dim|mlp_dim|d_ff)(_mlp)?|vision_output_dim": 2 * WIDTH,
    r"(.*_)?(hidden_size|hidden_dim|d_model|embed_dim|proj_dim|projection_dim)": WIDTH,
    r"hidden_size_per_layer_input|projector_(input|output)_dim|output_dim": WIDTH,
    r"(moe_)?num_(local_)?experts|n_routed_experts": 4,
    r"num_experts_per_tok|moe_topk|moe_k": 2,
    r"n_group|topk_group": 1,
    r"(.*_)?layer_(id|idx|index)": 0,
}
"""Regular expression over the name of a field -> its value in a shrunk config; the first counts."""
_COUNTS = re.compile(
    r"num_hidden_layers|num_(decoder_|global_)?layers|(en|de)coder_layers|(n_)?layers|depth"
)
"""Names of fields with the number of layers."""
_KEY_VALUE_HEADS = re.compile(r"(.*_)?(key_value|kv)_heads")
_FIRST, _LAST = "first_k_dense_replace", "num_kv_shared_layers"
"""How many of the first, and of the last layers are of a kind of their own."""
_NUMBERS = re.compile(r"(.*_)?(layers|indexes|indices|idxs)")
"""Names of lists with the numbers of some layers."""
_HIDDEN_STATES = re.compile(r"vi(t|sion_feature)_layers?")
"""Names of fields with the hidden states of the image encoder that are read, counted either way."""
_SECTIONS = re.compile(r"[mx]d?rope_section")
"""Names of lists that divide the pairs of rotated dimensions."""
_DROPPED = ("quantization_config", "dtype", "torch_dtype", "auto_map")
"""About weights or code that are left behind."""

Config = Mapping[Any, Any]


def shrunk(config: Config, *, widths: bool = True, layers: bool = True) -> dict[Any, Any]:
    """Return the config with small `widths`, and with one of all `layers` of each kind in a part.

    The vocabulary, the positions, and all that the processor knows, too, such as the sizes of
    images and patches, stay.
    """
    depth = _depth(config) if layers else 0
    kept = _one_of_each_kind(config, depth)
    result: dict[Any, Any] = {}
    for key, value in config.items():
        if key in _DROPPED:
            continue
        if depth:
            value = _of_layers(str(key), value, kept, depth)
        if layers and _HIDDEN_STATES.fullmatch(str(key)):
            value = _within(value)
        if isinstance(value, Mapping):
            result[key] = shrunk(value, widths=widths, layers=layers)
        else:
            result[key] = _small(str(key), value, config) if widths else value
    if widths:
        _fit_rotations(result)
    return result


def _depth(config: Config) -> int:
    """Return the number of layers of one part; 0 where it has none."""
    counts = (own for key, own in config.items() if _is_count(key, own))
    return max(counts, default=0)


def _one_of_each_kind(config: Config, depth: int) -> list[int]:
    """Return the numbers of the layers that stay: the first of each kind."""
    kinds: dict[tuple[Any, ...], int] = {}
    for layer in range(depth):
        stated = (_stated_of(layer, str(key), value, depth) for key, value in config.items())
        kinds.setdefault(tuple(stated), layer)
    kept = sorted(kinds.values())[:MOST_LAYERS]
    others = [layer for layer in range(depth) if layer not in kept]
    return sorted([*kept, *others[: max(0, _LEAST_LAYERS - len(kept))]])


def _stated_of(layer: int, key: str, value: Any, depth: int) -> Any:
    """Return what a field says of one layer, None if nothing that others lack."""
    if key == _FIRST:
        return layer < (value or 0)
    if key == _LAST:
        return layer >= depth - (value or 0)
    if _by_layer(value, depth):
        return str({int(number): own for number, own in value.items()}.get(layer))
    if _are_numbers(key, value, depth):
        return layer in value
    return str(value[layer]) if _is_list(value) and len(value) == depth else None


def _of_layers(key: str, value: Any, kept: Sequence[int], depth: int) -> Any:
    """Return the value of a field for a part of which the layers `kept` of `depth` are left."""
    if _is_count(key, value):
        return min(value, len(kept))
    if key in (_FIRST, _LAST):
        return sum(bool(_stated_of(layer, key, value, depth)) for layer in kept)
    if _by_layer(value, depth):
        places = {layer: place for place, layer in enumerate(kept)}
        own = {int(number): fields for number, fields in value.items()}
        return {places[layer]: own[layer] for layer in kept if layer in own}
    if _are_numbers(key, value, depth):
        return [place for place, layer in enumerate(kept) if layer in value]
    return [value[layer] for layer in kept] if _is_list(value) and len(value) == depth else value


def _within(number: Any) -> Any:
    """Return the number of a hidden state, or a list of some, of as few layers as there may be."""
    if _is_list(number):
        return [_within(own) for own in number]
    return max(-_LEAST_LAYERS, min(_LEAST_LAYERS - 1, number)) if _is_number(number) else number


def _small(key: str, value: Any, part: Config) -> Any:
    """Return what stands for the value of a field of that part."""
    if _KEY_VALUE_HEADS.fullmatch(key) and value:
        return 2 if value == part.get("num_attention_heads", value) else 1
    small = next((own for name, own in _FIELDS.items() if re.fullmatch(name, key)), None)
    if small is None or not value:  # 0 and None say that there is no such thing
        return value
    if _is_list(value):
        return [small] * len(value) if all(map(_is_number, value)) else value
    return small if _is_number(value) or isinstance(value, float) else value


def _fit_rotations(part: dict[Any, Any]) -> None:
    """Make what is written of rotary positions that of the part's own heads."""
    if not any("head" in str(key) for key in part):
        return
    ropes = [part, *(own for own in part.values() if isinstance(own, dict))]
    shares = [own["partial_rotary_factor"] for own in ropes if own.get("partial_rotary_factor")]
    share = min([1.0, *shares])
    if part.get("head_dim"):
        part["head_dim"] = round(HEAD / share)
    pairs = round((part.get("head_dim") or HEAD) * share / 2)
    for own in ropes:
        for key, value in own.items():
            if _SECTIONS.fullmatch(str(key)) and value:
                own[key] = _divided(value, pairs)
            elif key in ("short_factor", "long_factor") and value:
                own[key] = value[:pairs]


def _divided(sections: Sequence[int], pairs: int) -> list[int]:
    """Return sections of so many pairs, of which those are equal that are so in `sections`."""
    usual = max(sections, key=list(sections).count)
    each = round(pairs * usual / sum(sections))
    rest = pairs - each * (len(sections) - 1)
    odd = next((at for at, own in enumerate(sections) if own != usual), 0)
    return [rest if at == odd else each for at in range(len(sections))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(key: Any, value: Any) -> bool:
    return _is_number(value) and bool(_COUNTS.fullmatch(str(key)))


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0


def _by_layer(value: Any, depth: int) -> bool:
    """Whether a value holds fields of layers, by their numbers, which JSON makes strings."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(
        str(key).isdecimal() and int(key) < depth and isinstance(own, Mapping)
        for key, own in value.items()
    )


def _are_numbers(key: str, value: Any, depth: int) -> bool:
    """Whether a value is a list of numbers of layers, in their order."""
    if not (_is_list(value) and _NUMBERS.fullmatch(key) and all(map(_is_number, value))):
        return False
    return list(value) == sorted(set(value)) and value[-1] < depth
