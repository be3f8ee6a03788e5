"""Greedy decoding writes the tokens of transformers' own loop, and never waits to know the end."""

from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode

from workers import data
from workers.encoding import collation
from workers.evaluation import decoding
from workers.families.prompts import Prompt
from workers.features.images import Pixels
from workers.models.loading import load_base
from workers.recipe import Data, Model
from workers.tiny.checkpoints import VARIANTS

SAME = ["a photo of"] * 4
MIXED = ["a photo of", "what is it", "a", "which colour has the largest of all shapes"]


@pytest.fixture(scope="module", params=[*VARIANTS, "llava"])
def base(request, checkpoints):
    llava = request.param == "llava"
    folder = request.getfixturevalue("llava") if llava else checkpoints(request.param)
    return load_base(Model(base=str(folder)), "none", torch.device("cpu"))


@pytest.fixture(scope="module")
def asked(base):
    """Return a function: prompts -> arguments of `generate`."""
    samples = data.load(Data(source="shapes", limit=8)).splits["train"][:4]
    images = Pixels(base, samples).of(range(4))

    def made(texts):
        prompts = [Prompt(system=None, text=text) for text in texts]
        inputs = collation.generation_inputs(base, images, prompts)
        return {**inputs, "max_new_tokens": 8, "do_sample": False, "num_beams": 1}

    return made


@pytest.fixture
def write(base):
    """Return a function: arguments of `generate` -> its output and that of `greedy`."""

    @torch.inference_mode()
    def both(arguments):
        greedy = base.model.generate(**arguments, custom_generate=decoding.greedy)
        return base.model.generate(**arguments), greedy

    return both


@pytest.mark.parametrize("texts", [SAME, MIXED], ids=["same", "mixed"])
def test_the_tokens_are_those_of_transformers(base, asked, write, texts):
    arguments = asked(texts)
    plain, greedy = write(arguments)
    assert torch.equal(plain, greedy)
    new = plain[:, 0 if base.encoder_decoder else arguments["input_ids"].shape[1] :]
    used = Counter(token for row in new.tolist() for token in set(row[1:]))
    ends = [token for token, _ in used.most_common(3)]
    ended, greedy = write({**arguments, "eos_token_id": ends})
    assert torch.equal(ended, greedy)


class Late(TorchFunctionMode):
    """Copies that need not be waited for arrive some calls later, as those of a busy GPU do."""

    def __init__(self, calls):
        super().__init__()
        self.under_way = [lambda: None] * calls

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not torch.Tensor.copy_ or "non_blocking" not in (kwargs or {}):
            return func(*args, **(kwargs or {}))
        source = args[1].clone()
        self.under_way.append(lambda: args[0].copy_(source))
        self.under_way.pop(0)()
        return args[0]


@pytest.mark.parametrize("base", ["git", "blip2-t5"], indirect=True)
@pytest.mark.parametrize("calls", [1, 3, 100])
def test_what_is_written_before_the_end_is_known_is_cut_off(asked, write, calls):
    arguments = {**asked(SAME), "max_new_tokens": 6}
    whole, _ = write(arguments)
    arguments["eos_token_id"] = whole[:, -3].tolist()
    plain, _ = write(arguments)
    with Late(calls):
        _, greedy = write(arguments)
    assert plain.shape[1] < whole.shape[1]
    assert torch.equal(plain, greedy)
