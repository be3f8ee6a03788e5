"""What an inspection says of every family's tiny checkpoint, against the tokenizer alone."""

import pytest
import torch

from workers.evaluation.inspection import inspect
from workers.recipe import Recipe
from workers.tiny.checkpoints import VARIANTS

CPU = torch.device("cpu")
SHOWN = {
    "git": ("[CLS]", " [SEP]"),
    "blip2-opt": ("<image> x 4 </s>a photo of", "\n"),
    "blip2-t5": ("<image> x 4 a photo of</s>", "</s>"),
    "qwen2_5_vl": ("<|image_pad|> x", "<|im_end|>"),
    "paligemma": ("<image> x 16 <bos>caption en\n", "<eos>"),
}
"""Variant -> what its prompt holds, and how its targets end."""


def recipe(folder, **sections):
    return Recipe.model_validate(
        {
            "model": {"base": str(folder)},
            "data": {
                "source": "shapes",
                "limit": 12,
                "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
            },
            **sections,
        }
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_target_is_learned_whole_and_shown_as_the_model_gets_it(variant, checkpoints):
    found = inspect(recipe(checkpoints(variant)), ["none", "nf4"], CPU)
    assert found.images == {"train": 6, "validation": 3, "test": 3}
    assert found.problems == found.truncated == ()
    assert len(found.pairs) == 3 * (6 + 3)
    assert found.quantizations == {"none": None, "nf4": None}
    prompt, end = SHOWN[variant]
    for pair in found.pairs:
        assert pair.coverage == 1.0
        assert prompt in pair.prompt
        assert pair.target.endswith(end)
        assert len(pair.target.removesuffix(end).split()) >= 5


def test_a_target_beyond_the_positions_is_counted(checkpoints, tmp_path):
    from PIL import Image

    (tmp_path / "captions.csv").write_text(
        "image,caption\na.png,a disc\nb.png,a box\nc.png," + "crimson disc " * 300
    )
    for number, name in enumerate("abc"):
        Image.new("RGB", (9 + number, 9)).save(tmp_path / f"{name}.png")
    data = {
        "source": "folder",
        "path": str(tmp_path),
        "split": {"train": 0.67, "validation": 0.33, "test": 0.0},
    }
    found = inspect(recipe(checkpoints("paligemma"), data=data), [], CPU)
    assert found.truncated == ("c.png",)
    (cut,) = (pair for pair in found.pairs if pair.id == "c.png")
    assert cut.prompt_tokens + cut.learned_tokens == found.positions
    assert cut.target.endswith("<eos>")
    assert 0 < cut.coverage < 1


def test_a_base_that_cannot_be_trained_is_told_by_quantization(checkpoints):
    adapter = {"init": "orthogonal", "rank": 4}
    found = inspect(recipe(checkpoints("git"), adapter=adapter), ["none", "int8"], CPU)
    assert found.quantizations["none"] is None
    assert "RuntimeError" in found.quantizations["int8"]


def test_targets_that_the_base_has_not_are_told(checkpoints):
    adapter = {"targets": r"re:.*layer\.99\..*"}
    found = inspect(recipe(checkpoints("git"), adapter=adapter), ["none"], CPU)
    assert "adapter.targets must match" in found.quantizations["none"]
