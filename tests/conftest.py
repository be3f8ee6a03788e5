"""Fixtures that several folders of tests share."""

import pytest
import torch

from workers.recipe import Recipe
from workers.tiny_git import make_model, make_processor


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two cores and many small matrices: more threads only make the tests slower."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def untrained_base(tmp_path_factory):
    """Folder of a saved GIT with random weights, as any checkpoint from the hub."""
    folder = tmp_path_factory.mktemp("untrained-git")
    processor = make_processor()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make_model(len(processor.tokenizer)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(untrained_base):
    """A recipe of seconds: 24 drawn images, one metric that needs no Java."""
    return Recipe.model_validate(
        {
            "model": {"base": str(untrained_base)},
            "data": {
                "source": "shapes",
                "limit": 24,
                "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
            },
            "train": {"epochs": 3, "batch_size": 4, "accumulate": 2, "learning_rate": 1e-2},
            "adapter": {"rank": 4, "alpha": 8.0, "dropout": 0.1},
            "evaluate": {"metrics": ["exact_match"], "max_new_tokens": 4, "final_beams": 2},
        }
    )
