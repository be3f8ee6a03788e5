"""A very small GIT (Wang et al. 2022), untrained, with a processor that can spell any word."""

import math
import string
from typing import Any

import torch

from workers.data.scenes import all_captions

IMAGE_SIZE = 32
"""Width and height to which the processor resizes, pixels."""
PATCH_SIZE = 8
HIDDEN = 64
LAYERS = 2
"""Layers of the text decoder, and of the vision tower."""
HEADS = 4
POSITIONS = 192
"""Longest caption, tokens: some 190 letters where no word is known."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, _, CLS, SEP, _ = range(len(SPECIAL_TOKENS))


def vocabulary() -> dict[str, int]:
    """Return the WordPiece vocabulary: the words of the scenes, and letters for all others."""
    words = {word for caption in all_captions() for word in caption.split()}
    letters = [*string.ascii_lowercase, *string.digits]
    inner = [f"##{letter}" for letter in letters]
    pieces = [*SPECIAL_TOKENS, *sorted(words), *letters, *inner, *string.punctuation]
    # The article "a" is a word and a letter: it gets one number.
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def make_processor() -> Any:
    """Return a `GitProcessor`: no capitals, no accents, images by PIL."""
    from transformers import BertTokenizer, GitProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = BertTokenizer(
        vocab=vocabulary(),
        do_lower_case=True,
        strip_accents=True,
        model_max_length=POSITIONS,
        # GIT's generate refuses token_type_ids, so none are made.
        model_input_names=["input_ids", "attention_mask"],
    )
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = CLIPImageProcessorPil(size=size, do_center_crop=False)
    return GitProcessor(images, tokenizer)


def make_model(tokens: int) -> Any:
    """Return an untrained `GitForCausalLM` for a vocabulary of `tokens` entries."""
    from transformers import GitConfig, GitForCausalLM

    sizes = {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "initializer_range": 0.08,
    }
    config = GitConfig(
        **sizes,
        vision_config={**sizes, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE},
        vocab_size=tokens,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=PAD,
        bos_token_id=CLS,
        eos_token_id=SEP,
        attn_implementation="eager",
    )
    model = GitForCausalLM(config)
    vision = model.git.image_encoder.vision_model.embeddings
    text = model.git.embeddings
    patch = vision.patch_embedding.weight
    with torch.no_grad():  # with the usual deviation of 0.02 so small a model learns nothing
        patch.normal_(0.0, 1.0 / math.sqrt(patch[0].numel()))
        vision.position_embedding.weight.normal_(0.0, 1.0)
        text.position_embeddings.weight.normal_(0.0, 1.0)
        text.word_embeddings.weight.normal_(0.0, 0.5)
    return model
