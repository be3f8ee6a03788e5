"""What every model family promises. A new family adds one line to `CHECKPOINTS`."""

import re

import pytest
import torch

from workers import data, families
from workers.models import load_base
from workers.recipe import Data, Model

CHECKPOINTS = {"git": "untrained_base"}
"""Family -> fixture with a small saved checkpoint of it."""
CAPTIONS = ["crimson disc beside azure box", "a disc", "zebra"]


def test_every_family_is_tested():
    assert CHECKPOINTS.keys() == families.MODULES.keys()


@pytest.fixture(params=CHECKPOINTS)
def base(request):
    folder = request.getfixturevalue(CHECKPOINTS[request.param])
    return load_base(Model(base=str(folder)), "none", torch.device("cpu"))


@pytest.fixture
def pixels(base):
    samples = data.load(Data(source="shapes", limit=12)).splits["train"][:3]
    return torch.stack([base.family.pixels(base.processor, sample.open()) for sample in samples])


def test_padding_is_not_learned_and_every_word_is(base, pixels):
    batch = base.family.training_batch(base.processor, pixels, CAPTIONS)
    labels = batch["labels"]
    for row, caption in zip(labels, CAPTIONS, strict=True):
        learned = row[row != -100]
        text = base.processor.tokenizer.decode(learned, skip_special_tokens=True)
        assert text.strip() == caption
        assert learned[-1] == base.processor.tokenizer.sep_token_id  # it learns to stop
    padding = batch["attention_mask"] == 0
    assert padding.any()
    assert (labels[padding] == -100).all()


def test_the_loss_averages_over_the_predicted_tokens(base, pixels):
    """A batch's loss is the mean of its rows' losses, weighted by their tokens."""
    with torch.no_grad():
        whole = base.family.training_batch(base.processor, pixels, CAPTIONS)
        total = base.family.predicted_tokens(whole["labels"])
        loss = base.model(**whole).loss * total
        single = 0.0
        for index, caption in enumerate(CAPTIONS):
            row = base.family.training_batch(base.processor, pixels[index : index + 1], [caption])
            count = base.family.predicted_tokens(row["labels"])
            single += base.model(**row).loss * count
            total -= count
    assert total == 0
    assert loss.item() == pytest.approx(single.item(), rel=1e-5)


def test_the_image_is_not_ignored(base, pixels):
    with torch.no_grad():
        batch = base.family.training_batch(base.processor, pixels, CAPTIONS)
        blank = base.family.training_batch(base.processor, torch.zeros_like(pixels), CAPTIONS)
        assert base.model(**batch).loss.item() != base.model(**blank).loss.item()


def test_generation_in_a_batch_equals_one_by_one(base, pixels):
    from workers.generation import generate

    for beams in (1, 3):
        batch = generate(base, base.model, pixels, beams=beams, max_new_tokens=6)
        single = [
            generate(base, base.model, pixels[i : i + 1], beams=beams, max_new_tokens=6)[0]
            for i in range(len(pixels))
        ]
        assert batch == single
        assert not any("[" in caption for caption in batch)


def test_target_sets_match_leaf_linears_where_they_say(base):
    linears = {n for n, m in base.model.named_modules() if isinstance(m, torch.nn.Linear)}
    matched = {
        name: {path for path in linears if re.fullmatch(pattern, path)}
        for name, pattern in base.family.TARGETS.items()
    }
    assert all(matched.values())
    vision = {path for path in linears if "image_encoder" in path or "vision" in path}
    for name, paths in matched.items():
        assert paths <= vision if name == "vision" else not paths & vision
        pattern = base.family.TARGETS[name]
        every = {n for n, _ in base.model.named_modules() if re.fullmatch(pattern, n)}
        assert every == paths  # a container among them would make peft refuse the set
    assert matched["text"] < matched["text_all"]


def test_an_unknown_family_is_refused_by_name():
    with pytest.raises(ValueError, match=r"model\.base is of type 'llama'; supported are .*git"):
        families.get("llama")
