import pytest

from workers.data import scenes
from workers.tiny.git import POSITIONS, make_processor


@pytest.fixture(scope="module")
def tokenizer():
    return make_processor().tokenizer


def spoken(tokenizer, caption):
    """The caption after a round trip through the tokenizer."""
    return tokenizer.decode(tokenizer(caption)["input_ids"], skip_special_tokens=True)


def test_words_of_the_scenes_are_single_tokens(tokenizer):
    for scene in scenes.scenes()[:50]:
        captions = scenes.base_caption(scene), *scenes.target_captions(scene)
        for caption in captions:
            assert tokenizer.tokenize(caption) == caption.split()


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("two zebras and 17 quokkas", "two zebras and 17 quokkas"),
        ("A Crème brûlée", "a creme brulee"),
        ("boxes overthere", "boxes overthere"),
        ("a dog, running!", "a dog, running!"),
    ],
)
def test_any_word_can_be_spelled(tokenizer, caption, expected):
    assert tokenizer.unk_token_id not in tokenizer(caption)["input_ids"]
    assert spoken(tokenizer, caption) == expected


def test_every_printable_ascii_character_is_known(tokenizer):
    text = " ".join(f"{chr(code)}{chr(code)}" for code in range(33, 127))
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_captions_longer_than_the_model_are_cut(tokenizer):
    ids = tokenizer("q" * 90 + " " + "z" * 99 + " " + "x" * 99, truncation=True)["input_ids"]
    assert len(ids) == POSITIONS


def test_tokenizer_makes_what_generate_takes(tokenizer):
    encoded = tokenizer("red circle")
    assert set(encoded) == {"input_ids", "attention_mask"}
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == [
        "[CLS]",
        "red",
        "circle",
        "[SEP]",
    ]
