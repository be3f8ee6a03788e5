"""Tiny bases of the families whose features are known, and images for them."""

import pytest
import torch

from workers import data
from workers.features.files import TensorFiles
from workers.features.store import Allowance, Store, install_bypass
from workers.models.loading import load_base
from workers.recipe import Data, Model
from workers.tiny.checkpoints import VARIANTS


@pytest.fixture(scope="module")
def samples():
    return data.load(Data(source="shapes", limit=12)).splits["train"][:5]


@pytest.fixture(params=VARIANTS)
def base(request, checkpoints):
    folder = checkpoints(request.param)
    return load_base(Model(base=str(folder)), "none", torch.device("cpu"))


@pytest.fixture
def store(base, tmp_path):
    """A store with much memory and no disk."""
    return made_store(base, tmp_path)


def made_store(base, folder, memory=10**9, disk=0):
    install_bypass(base)
    return Store(base, Allowance(memory), TensorFiles(folder / "features" / "base", disk))
