"""Fixtures that several folders of tests share."""

import gc
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
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


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Name of an architecture -> folder of a tiny checkpoint of it, built when asked for."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(variant):
        made = root / variant
        if not made.exists():
            architectures.build(variant, made)
        return made

    return folder


@pytest.fixture(scope="session")
def llava(tmp_path_factory):
    """Folder of a tiny LLaVA: an architecture without a family of its own."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from workers.tiny.tokenizers import CHAT_TEMPLATE, qwen_tokenizer

    folder = tmp_path_factory.mktemp("llava")
    tokenizer = qwen_tokenizer()
    images = CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    processor = LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE, image_token="<|image_pad|>", num_additional_image_tokens=1,
    )  # fmt: skip
    sizes = {
        "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2,
        "num_hidden_layers": 1, "initializer_range": 0.08,
    }  # fmt: skip
    config = LlavaConfig(
        vision_config={**sizes, "model_type": "clip_vision_model", "image_size": 32,
                       "patch_size": 8, "projection_dim": 32},
        text_config={**sizes, "model_type": "llama", "vocab_size": len(tokenizer),
                     "num_key_value_heads": 1, "max_position_embeddings": 256,
                     "eos_token_id": tokenizer.eos_token_id},
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        vision_feature_layer=-1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
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
