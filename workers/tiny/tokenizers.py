"""Small tokenizers of the kinds that the model families use, trained on the words of the scenes.

Each can spell any text: byte-level pieces, byte fallback, or letters.
"""

import json
import string
from collections.abc import Iterable
from typing import Any

from workers.data.scenes import base_caption, catalog_caption, scenes, target_captions

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
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip


def captions() -> list[str]:
    """Return every caption of the drawn scenes, the text that vocabularies are trained on."""
    return [
        caption
        for scene in scenes()
        for caption in (base_caption(scene), catalog_caption(scene), *target_captions(scene))
    ]


def opt_tokenizer() -> Any:
    """Return the byte-level tokenizer of OPT: ``</s>`` begins and ends a text."""
    from transformers import GPT2Tokenizer

    vocab, merges = _byte_level(("<s>", "<pad>", "</s>", "<unk>"))
    return GPT2Tokenizer(
        vocab=vocab, merges=merges, bos_token="</s>", eos_token="</s>", unk_token="</s>",
        pad_token="<pad>",
    )  # fmt: skip


def qwen_tokenizer() -> Any:
    """Return the byte-level tokenizer of Qwen2.5-VL with its chat and vision tokens."""
    from transformers import Qwen2Tokenizer

    vocab, merges = _byte_level(_CHAT_TOKENS)
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        eos_token="<|im_end|>",
        additional_special_tokens=list(_CHAT_TOKENS[1:]),
    )


def gemma_tokenizer() -> Any:
    """Return the tokenizer of Gemma: spaces as ``▁``, unknown letters as bytes."""
    from tokenizers import Tokenizer, models, normalizers, trainers
    from transformers import GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    letters = [*string.ascii_lowercase, *string.digits, "▁", "\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES - 256,
        special_tokens=special,
        initial_alphabet=letters,
        show_progress=False,
    )
    trained.train_from_iterator(captions(), trainer)
    vocab, merges = _pieces(trained)
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    return GemmaTokenizer(vocab=vocab, merges=merges)


def t5_tokenizer() -> Any:
    """Return the unigram tokenizer of T5: whole words cheap, letters for all others."""
    from transformers import T5Tokenizer

    words = dict.fromkeys(f"▁{word}" for caption in captions() for word in caption.split())
    letters = [*string.ascii_letters, *string.digits, *string.punctuation]
    scores = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -8.0}
    scores |= dict.fromkeys(words, -4.0) | dict.fromkeys(letters, -9.0)
    return T5Tokenizer(vocab=list(scores.items()), extra_ids=0)


def _byte_level(special: Iterable[str]) -> tuple[dict[str, int], list[Any]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(captions(), trainer)
    return _pieces(trained)


def _pieces(trained: Any) -> tuple[dict[str, int], list[Any]]:
    """Return the vocabulary in the order of its numbers, and the merges."""
    model = json.loads(trained.to_str())["model"]
    vocab = dict(sorted(model["vocab"].items(), key=lambda entry: int(entry[1])))
    return vocab, [tuple(merge) for merge in model["merges"]]
