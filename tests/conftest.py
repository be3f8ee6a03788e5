"""Fixtures that several folders of tests share."""

import gc
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from packaging.version import Version
from PIL import EpsImagePlugin

from workers.recipe import Recipe
from workers.tiny import architectures
from workers.tiny.git import make_model, make_processor

# A shell that starts the tests in the background has them ignore Ctrl-C, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Let the garbage collector look past all that is imported by now.

    It stays, and to look through it takes a second, which every test of what happens when memory
    runs out would wait for several times.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two cores and many small matrices: more threads only make the tests slower."""
    torch.set_num_threads(1)


@pytest.fixture
def eps(tmp_path_factory, monkeypatch):
    """An EPS file as `eps.content`; decoding it starts a ``gs`` that makes `eps.started` exist."""
    folder = tmp_path_factory.mktemp("ghostscript")
    started = folder / "started"
    (folder / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # what an earlier look has found
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    return SimpleNamespace(content=content, started=Path(started))


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


LATER = ("gemma4", "minicpmv4_6", "qwen3_5_moe")
"""Architectures that not every transformers of the range has whole, see docs/models.md."""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Architecture -> folder of a tiny checkpoint of it, built when asked for."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(name):
        if name in LATER and Version(transformers.__version__) < Version("5.23"):
            pytest.skip(f"transformers {transformers.__version__} lacks a part of {name}")
        made = root / name
        if not made.exists():
            architectures.build(name, made)
        return made

    return folder


@pytest.fixture(scope="session")
def endless_git(tmp_path_factory, untrained_base):
    """Folder of a GIT with 32 positions that ends no text of its own accord."""
    from transformers import GitConfig, GitForCausalLM

    folder = tmp_path_factory.mktemp("endless-git")
    processor = make_processor()
    config = GitConfig.from_pretrained(untrained_base, max_position_embeddings=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GitForCausalLM(config)
    with torch.no_grad():
        model.output.bias[processor.tokenizer.sep_token_id] = -1e4
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llava(checkpoints):
    """Folder of a tiny LLaVA: an architecture without a family of its own."""
    return checkpoints("llava")


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
