"""Small tokenizers of the kinds that the model families use, trained on the words of the scenes.

Each can spell any text: byte-level pieces, byte fallback, or letters.
"""

import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

from workers.data.scenes import all_captions

PIECES = 420
"""Entries of a trained vocabulary, special tokens included."""
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML as Qwen2.5-VL renders it: a system prompt of its own where none is given."""
_CHAT_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)


def opt_tokenizer() -> Any:
    """Return the byte-level tokenizer of OPT: ``</s>`` begins and ends a text."""
    from transformers import GPT2Tokenizer

    vocab, merges = _byte_level(("<s>", "<pad>", "</s>", "<unk>"))
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "</s>")
    return GPT2Tokenizer(vocab=vocab, merges=merges, pad_token="<pad>", **special)


def qwen_tokenizer() -> Any:
    """Return the byte-level tokenizer of Qwen2.5-VL with its chat and vision tokens."""
    from transformers import Qwen2Tokenizer

    vocab, merges = _byte_level(_CHAT_TOKENS)
    special = {"eos_token": "<|im_end|>", "additional_special_tokens": list(_CHAT_TOKENS[1:])}
    return Qwen2Tokenizer(vocab=vocab, merges=merges, **special)


def byte_level_tokenizer(
    special: Sequence[str],
    *,
    pad: str,
    end: str,
    begin: str | None = None,
    named: Mapping[str, str] | None = None,
) -> Any:
    """Return a byte-level tokenizer as of Qwen, Llama 3 and many others.

    `special` are tokens that no text contains; `named` of them are attributes of the tokenizer,
    by which some processors ask for them. With `begin` every text starts with that token.
    """
    from tokenizers import processors
    from transformers import Qwen2Tokenizer

    every = tuple(dict.fromkeys((pad, end, *([begin] if begin else []), *special)))
    vocab, merges = _byte_level(every, PIECES + len(every))
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=pad,
        bos_token=begin,
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=[token for token in every if token not in (pad, end, begin)],
        **(named or {}),
    )
    if begin is not None:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=None, special_tokens=[(begin, vocab[begin])]
        )
    return tokenizer


def gemma_tokenizer(special: Sequence[str] = (), named: Mapping[str, str] | None = None) -> Any:
    """Return the tokenizer of Gemma: spaces as ``▁``, unknown letters as bytes.

    `special` and `named` as in `byte_level_tokenizer`.
    """
    from transformers import GemmaTokenizer

    vocab, merges = _byte_fallback(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *special))
    named = named or {}
    return GemmaTokenizer(
        vocab=vocab, merges=merges, additional_special_tokens=list(special), **named
    )


def llama_tokenizer(special: Sequence[str]) -> Any:
    """Return the tokenizer of Llama 2 and Vicuna: as Gemma's, and with a space in front."""
    from transformers import LlamaTokenizer

    vocab, merges = _byte_fallback(("<unk>", "<s>", "</s>", *special))
    return LlamaTokenizer(
        vocab=vocab,
        merges=merges,
        pad_token=special[-1],
        additional_special_tokens=list(special),
    )


def t5_tokenizer() -> Any:
    """Return the unigram tokenizer of T5: whole words cheap, letters for all others."""
    from transformers import T5Tokenizer

    words = dict.fromkeys(f"▁{word}" for caption in all_captions() for word in caption.split())
    letters = [*string.ascii_letters, *string.digits, *string.punctuation]
    scores = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -8.0}
    scores |= dict.fromkeys(words, -4.0) | dict.fromkeys(letters, -9.0)
    return T5Tokenizer(vocab=list(scores.items()), extra_ids=0)


def _byte_level(special: Sequence[str], pieces: int = PIECES) -> tuple[dict[str, int], list[Any]]:
    from tokenizers import Tokenizer, models, pre_tokenizers

    untrained = Tokenizer(models.BPE())
    untrained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _train_bpe(untrained, pieces, special, pre_tokenizers.ByteLevel.alphabet())


def _byte_fallback(special: Sequence[str]) -> tuple[dict[str, int], list[Any]]:
    from tokenizers import Tokenizer, models, normalizers

    untrained = Tokenizer(models.BPE())
    untrained.normalizer = normalizers.Replace(" ", "▁")
    letters = [*string.ascii_lowercase, *string.digits, "▁", "\n"]
    vocab, merges = _train_bpe(untrained, PIECES - 261 + len(special), special, letters)
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    return vocab, merges


def _train_bpe(
    tokenizer: Any, pieces: int, special: Sequence[str], letters: Sequence[str]
) -> tuple[dict[str, int], list[Any]]:
    """Return the trained vocabulary in the order of its numbers, and the merges."""
    from tokenizers import trainers

    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=list(special),
        initial_alphabet=list(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(all_captions(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda entry: int(entry[1])))
    return vocab, [tuple(merge) for merge in model["merges"]]
