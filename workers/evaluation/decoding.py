"""Greedy decoding that never waits for the device while it writes.

A GPU works on what it was told some time ago; to ask it after each token whether all texts have
ended, as the loop of transformers does, stops the host until the GPU has caught up, and then the
GPU until the host has prepared the next token. Here the answer is copied to the host behind the
token, and read when it is there: a few tokens may be written in vain, and are cut off.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache


def greedy(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **kwargs: Any,
) -> torch.Tensor:
    """Return `input_ids` (rows, tokens) with the most likely tokens behind them.

    For `generate`, as its ``custom_generate``: it prepares the arguments, and the tokens are those
    of its own greedy search. A text that has ended is filled up with padding.
    """
    rows, prompt = input_ids.shape
    room, two_sequences = generation_config.max_length - prompt, model.config.is_encoder_decoder
    # Its name differs between versions of transformers.
    cache = next((value for value in kwargs.values() if isinstance(value, Cache)), None)
    if cache is not None:
        _preallocate(cache, room)
    read = kwargs.get("attention_mask") if two_sequences else None
    if read is not None and read.all():
        kwargs["attention_mask"] = None  # else each token asks the device whether it is all ones
    padding = _padding(generation_config)
    ended = torch.zeros(rows, dtype=torch.bool, device=input_ids.device)
    # Tokens of each row at which none was unfinished any more: the last one that counts, and all
    # in vain behind it.
    after_end = torch.zeros((), dtype=torch.long, device=input_ids.device)
    # Once true it stays true, so it does not matter which of the copies under way is read.
    all_ended = torch.zeros((), dtype=torch.bool, pin_memory=input_ids.is_cuda)
    for step in range(room):
        inputs = model.prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=1 if step and kwargs["use_cache"] else None,
            is_first_iteration=step == 0,
            **kwargs,
        )
        outputs = model(**inputs, return_dict=True)
        kwargs = model._update_model_kwargs_for_generation(
            outputs, kwargs, is_encoder_decoder=two_sequences
        )
        if step == 0 and cache is not None and not two_sequences:
            _prepare_masks(cache, kwargs.get("attention_mask"))
        scores = logits_processor(input_ids, outputs.logits[:, -1].float())
        tokens = scores.argmax(dim=-1).masked_fill(ended, padding)
        del inputs, outputs, scores  # before the next forward: those of a prompt are large
        input_ids = torch.cat([input_ids, tokens[:, None]], dim=-1)
        ended |= stopping_criteria(input_ids, None)
        ends = ended.all()
        after_end += ends
        all_ended.copy_(ends, non_blocking=True)
        if all_ended:
            break
    return input_ids[:, : input_ids.shape[1] + 1 - int(after_end)]


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, with room for all tokens to come.

    A dynamic layer copies all that it has for each token.
    """

    is_initialized: bool

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values (rows, heads, tokens, width); return all so far."""
        start, new = self.get_seq_length(), key_states.shape[-2]
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized = True
            self._all_keys = self._with_room(key_states)
            self._all_values = self._with_room(value_states)
        self._all_keys.narrow(-2, start, new).copy_(key_states)
        self._all_values.narrow(-2, start, new).copy_(value_states)
        self.keys = self._all_keys.narrow(-2, 0, start + new)
        self.values = self._all_values.narrow(-2, 0, start + new)
        return self.keys, self.values

    def _with_room(self, states: torch.Tensor) -> torch.Tensor:
        *front, tokens, width = states.shape
        return states.new_empty((*front, tokens + self._room, width))


def _preallocate(cache: Cache, room: int) -> None:
    """Give the layers of a new cache room for so many tokens behind the prompt."""
    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
    for number, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[number] = PreallocatedLayer(room)


def _prepare_masks(cache: Cache, mask: torch.Tensor | None) -> None:
    """Have the masks of padded prompts prepared before the model is called, as for a static cache.

    Otherwise the model asks the device for each token whether anything is masked. Not where the
    cache has tokens that the mask (rows, tokens) has not, as with GIT's images, nor where a layer
    attends to some tokens only.
    """
    covered = mask is not None and cache.get_seq_length() + 1 == mask.shape[-1]
    if covered and all(isinstance(layer, PreallocatedLayer) for layer in cache.layers):
        for layer in cache.layers:
            layer.is_compileable = True


def _padding(config: Any) -> int:
    """Return the token that `generate` fills texts up with that have ended."""
    ends = config.eos_token_id
    first = ends[0] if isinstance(ends, list) else ends
    found = (token for token in (config.pad_token_id, first) if token is not None)
    return int(next(found, 0))
