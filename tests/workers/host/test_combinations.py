"""Recipes whose fields do not go together."""

import re
import subprocess
import sys

import pytest
from pydantic import ValidationError

from workers.host.combinations import conflicts
from workers.host.host import Host
from workers.recipe import Adapter, Recipe

SOUND = Recipe.model_validate({"model": {"base": "b"}, "data": {"source": "shapes"}})
BAD = {
    "odd rank": ({"adapter.init": "orthogonal", "adapter.rank": 3}, "adapter.rank", "even.*got 3"),
    "orthogonal, quantized": (
        {"adapter.init": "orthogonal", "quantization": "nf4"}, "adapter.init", "with .* nf4",
    ),
    "mica, quantized": (
        {"adapter.init": "mica", "quantization": "int8"}, "adapter.init", "with .* int8",
    ),
    "mica, dora": (
        {"adapter.init": "mica", "adapter.variant": "dora"}, "adapter.variant", "trains A alone",
    ),
    "dora, int8": (
        {"adapter.variant": "dora", "quantization": "int8"}, "adapter.variant", "lora or rslora",
    ),
    "vqa without question": (
        {"task": "vqa", "prompt.text": "What?"}, "prompt.text", r"contain \{question\}.*'What\?'",
    ),
    "captioning with question": ({"prompt.text": "{question}"}, "prompt.text", "must not contain"),
    "repeats": ({"adapter.trained_modules": ["a", "a"]}, "adapter.trained_modules", "repeats"),
}  # fmt: skip


def test_a_sound_recipe_has_no_conflict():
    assert conflicts(SOUND) == []
    good = {"adapter.variant": "dora", "quantization": "nf4", "task": "vqa"}
    assert conflicts(SOUND.with_point(good)) == []


@pytest.mark.parametrize(("point", "field", "reason"), BAD.values(), ids=BAD)
def test_what_does_not_go_together_is_named_with_its_reason(point, field, reason):
    (found,) = conflicts(SOUND.with_point(point))
    assert found[0] == field
    assert re.search(reason, found[1])


def test_a_host_refuses_it_before_loading_anything():
    with pytest.raises(ValueError, match=r"adapter\.variant must be lora or rslora"):
        Host(device="cpu").admit("one", SOUND.with_point(BAD["dora, int8"][0]))


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora"])
def test_first_weights_that_change_the_base_are_refused_with_the_reason(init):
    with pytest.raises(ValidationError, match=f"{init} rewrites the weights of the base"):
        Adapter.model_validate({"init": init})


def test_checking_loads_no_torch():
    code = (
        "import sys, workers.host.combinations, workers.families as f; f.target_names();"
        "f.get('unheard-of'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
