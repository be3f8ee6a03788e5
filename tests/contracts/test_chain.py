"""The whole chain on a tiny real checkpoint of every family: train, score, snapshot, predict."""

import pytest

from workers import data
from workers.families.prompts import PromptBuilder
from workers.host.host import Host
from workers.inference.predict import Adapted, predict
from workers.recipe import Recipe
from workers.tiny.checkpoints import VARIANTS


def made(folder, quantization):
    return Recipe.model_validate(
        {
            "model": {"base": str(folder)},
            "data": {
                "source": "shapes",
                "limit": 12,
                "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
            },
            "train": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2},
            "adapter": {"rank": 4, "alpha": 8.0},
            "quantization": quantization,
            "evaluate": {"metrics": ["exact_match"], "max_new_tokens": 5, "final_beams": 3},
        }
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_a_trial_from_its_first_rung_to_predictions_elsewhere(
    checkpoints, tmp_path, variant, quantization
):
    recipe = made(checkpoints(variant), quantization)
    host = Host(device="cpu", threads=1)
    host.admit("trial", recipe)
    host.advance("trial")
    host.snapshot("trial", tmp_path / "rung-1")
    through = host.advance("trial").metrics["val/loss"]
    host.export("trial", tmp_path / "adapter")
    final = host.score("trial", tmp_path / "adapter").predictions
    host.close()

    other = Host(device="cpu", threads=1)
    other.restore("again", recipe, tmp_path / "rung-1")
    assert other.advance("again").metrics["val/loss"] == through

    adapted = Adapted.load(recipe.model, quantization, tmp_path / "adapter", device="cpu")
    samples = data.load(recipe.data).splits["validation"]
    assert tuple(predict(adapted, samples, PromptBuilder(), recipe.evaluate)) == final
