"""The five ready recipes: each loads, plans, and says what its job is known by."""

import re

import pytest

from sweeps.spec.load import read, ready_text, recipes
from workers import families
from workers.recipe import Adapter, Model
from workers.tiny import stand_in

FACTS = {
    "git-pokemon": {
        "task": "captioning",
        "model.base": "microsoft/git-base",
        "data.source": "huggingface",
        "data.path": "reach-vb/pokemon-blip-captions",
        "data.limit": 700,
        "data.split.train": 0.8,
        "data.split.validation": 0.1,
        "data.split.test": 0.1,
        "train.epochs": 15,
        "train.learning_rate": 5e-5,
        "train.batch_size": 2,
        "train.accumulate": 4,
        "train.warmup": 0.05,
        "train.weight_decay": 0.0,
        "adapter.targets": "text_all",
        "adapter.rank": 16,
        "adapter.alpha": 32.0,
        "evaluate.metrics": ("bleu", "meteor", "rouge_l", "cider", "word_error_rate"),
        "search.objective.metric": "loss",
        "search.objective.mode": "min",
    },
    "blip2-flickr8k": {
        "task": "captioning",
        "model.base": "Salesforce/blip2-flan-t5-xl",
        "data.source": "flickr8k",
        "data.split.train": "Flickr_8k.trainImages.txt",
        "data.split.validation": "Flickr_8k.devImages.txt",
        "data.split.test": "Flickr_8k.testImages.txt",
        "evaluate.metrics": ("bleu", "meteor", "rouge_l", "cider"),
        "evaluate.limit": None,
    },
    "blip2-folder": {
        "task": "captioning",
        "model.base": "Salesforce/blip2-opt-2.7b",
        "data.source": "folder",
        "data.split.test": 0.1,
        "evaluate.metrics": ("bleu", "meteor", "rouge_l", "cider"),
    },
    "qwen2.5-vl-captions": {
        "task": "captioning",
        "model.base": "Qwen/Qwen2.5-VL-7B-Instruct",
        "model.dtype": "bfloat16",
        "data.source": "csv",
        "data.split.train": "train.csv",
        "data.split.test": "test.csv",
        "quantization": "nf4",
    },
    "paligemma-product-vqa": {
        "task": "vqa",
        "model.base": "google/paligemma-3b-pt-224",
        "data.source": "amazon-vqa",
        "data.split.train": "train.csv",
        "data.split.test": "test.csv",
        "evaluate.metrics": (
            "challenge_f1", "exact_match", "valid_format", "numeric_match", "anls",
        ),
        "search.objective.metric": "challenge_f1",
    },
}  # fmt: skip
"""Recipe -> dotted field -> what it must carry over."""
SWEPT = ("adapter.rank", "adapter.alpha", "train.learning_rate", "quantization")


def value(sweep, path):
    for name in path.split("."):
        sweep = getattr(sweep, name)
    return sweep


@pytest.fixture(params=FACTS)
def name(request):
    return request.param


@pytest.fixture
def sweep(name):
    return read(name, ())


def test_there_are_no_others():
    assert set(recipes()) == {"quickstart", *FACTS}


def test_carries_over_what_its_job_is_known_by(name, sweep):
    assert {path: value(sweep, path) for path in FACTS[name]} == FACTS[name]


def test_sweeps_the_usual_four_around_its_own_values(sweep):
    for path in SWEPT:
        assert sweep.search.space[path].contains(value(sweep, path)), path


def test_dropout_is_on(sweep):
    assert sweep.adapter.dropout > 0


def test_every_swept_target_set_is_one_of_its_family(sweep):
    variant = stand_in.variant_of(sweep.model.base, None)
    family = families.get({"blip2-t5": "blip-2", "blip2-opt": "blip-2"}.get(variant, variant))
    for targets in sweep.swept("adapter.targets", sweep.adapter.targets):
        assert targets in family.TARGETS


def test_every_swept_target_set_meets_layers(sweep, checkpoints):
    """Of the tiny checkpoint of the very variant: OPT and T5 name their layers differently."""
    import torch

    from workers.models.loading import load_base
    from workers.models.targets import adapted_layers

    folder = checkpoints(stand_in.variant_of(sweep.model.base, None))
    base = load_base(Model(base=str(folder)), "none", torch.device("cpu"))
    for targets in sweep.swept("adapter.targets", sweep.adapter.targets):
        assert adapted_layers(Adapter(targets=targets), base)


def test_points_of_the_whole_space_are_recipes(sweep):
    for path, domain in sweep.search.space.items():
        for edge in domain.edges():
            assert value(sweep.with_point({path: edge}), path) == edge


def test_a_system_prompt_stands_only_where_the_family_takes_one(name, sweep):
    assert (sweep.prompt.system is not None) == (name == "qwen2.5-vl-captions")


def test_marks_the_two_lines_to_edit(name):
    lines = [line for line in ready_text(name).splitlines() if "# EDIT:" in line]
    assert [re.split(r":\s", line.strip())[0] for line in lines] == ["base", "path"]


def test_init_and_plan_work(name, tmp_path, sweeps):
    assert sweeps("init", name)[0] == 0
    assert (tmp_path / f"{name}.yaml").read_text() == ready_text(name)
    code, out, err = sweeps("plan", f"{name}.yaml")
    assert code == 0, err
    assert "a continuous space" in out
