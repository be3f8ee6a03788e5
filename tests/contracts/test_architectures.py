"""The contract of bases, on tiny checkpoints of the architectures that no other test checks."""

import importlib.util
import re
from pathlib import Path

import pytest

from workers.contract import CHECKS, Subject, finding_of
from workers.families.generic import TRIED
from workers.tiny.architectures import ARCHITECTURES, build
from workers.tiny.checkpoints import VARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
ELSEWHERE = {*VARIANTS, "llava"}
"""Architectures that tests/contracts/test_families.py checks whole."""
NEED_TORCHVISION = {"cohere2_vision", "lfm2_vl", "llama4"}
WHOLE = {"gemma3", "mllama", "qwen3_vl", "smolvlm"}
"""Architectures of unlike kinds; all checks of the others are slow together."""
CHEAP = ("prompt and target", "loss", "batch equals one by one", "image is seen")
OPTIONAL = ("packing", "kept features", "several images", "resolution", "int8", "nf4")
REST = [name for name in CHECKS if name not in CHEAP]
KNOWN = sorted({*ARCHITECTURES} - ELSEWHERE - NEED_TORCHVISION)


@pytest.fixture(scope="module")
def subject(request, checkpoints):
    return Subject.of(str(checkpoints(request.param)))


def passes(subject, check):
    """Make a check; what an architecture does not offer, it says."""
    finding = finding_of(check, lambda: CHECKS[check](subject))
    allowed = {"passed", *(["not possible"] if check in OPTIONAL else [])}
    assert finding.outcome in allowed, f"{check}: {finding.detail}"


@pytest.mark.parametrize("subject", KNOWN, indirect=True)
def test_prompts_labels_and_losses_are_right(subject):
    for check in CHEAP:
        passes(subject, check)


@pytest.mark.parametrize("subject", sorted(WHOLE), indirect=True)
def test_unlike_architectures_keep_the_whole_contract(subject):
    for check in REST:
        passes(subject, check)


@pytest.mark.slow
@pytest.mark.parametrize("subject", [name for name in KNOWN if name not in WHOLE], indirect=True)
def test_all_architectures_keep_the_whole_contract(subject):
    for check in REST:
        passes(subject, check)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="it is here")
@pytest.mark.parametrize("name", sorted(NEED_TORCHVISION))
def test_an_image_processor_that_needs_torchvision_says_so(checkpoints, name):
    with pytest.raises(ValueError, match=r"model\.base: the processor of .* torchvision"):
        Subject.of(str(checkpoints(name)))


def test_nothing_warns_of_an_architecture_that_is_tested():
    kinds = {name.partition("-")[0] for name in KNOWN} - {"paligemma2"}  # with its own family
    assert kinds <= {*TRIED} <= {*ARCHITECTURES}


def test_the_page_of_models_has_all_of_them():
    rows = re.findall(r"^\| ([\w-]+) \|", PAGE.read_text(), re.MULTILINE)
    assert {*ARCHITECTURES} <= {*rows}


def test_an_unknown_architecture_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of aya_vision, .*; got 'clip'"):
        build("clip", tmp_path)
