"""Every check of the contract finds the fault that it is there for."""

from dataclasses import replace

import pytest
import torch

from workers.contract import CHECKS, NotPossibleError, Subject, examine, finding_of
from workers.encoding import collation
from workers.families.generic import GenericFamily
from workers.training import losses


@pytest.fixture
def subject(checkpoints):
    return Subject.of(str(checkpoints("qwen2_5_vl")))


def failing(check, subject):
    """The detail of a check that must fail."""
    found = finding_of(check, lambda: CHECKS[check](subject))
    assert found.outcome == "failed"
    return found.detail


def with_family(subject, **methods):
    """The same base, whose family has other methods."""
    own = type(subject.base.family)
    changed = type("Changed", (own,), methods)
    family = object.__new__(changed)
    family.__dict__.update(vars(subject.base.family))
    return replace(subject, base=replace(subject.base, family=family))


def test_a_caption_without_its_end(subject):
    def target_tokens(self, base, prompt, target):
        return GenericFamily.target_tokens(self, base, prompt, target)[:-1]

    assert "generation does not stop" in failing(
        "prompt and target", with_family(subject, target_tokens=target_tokens)
    )


def test_a_caption_that_is_not_the_one_given(subject):
    def target_tokens(self, base, prompt, target):
        return GenericFamily.target_tokens(self, base, prompt, "zebra")

    assert "learned is 'zebra'" in failing(
        "prompt and target", with_family(subject, target_tokens=target_tokens)
    )


def test_a_loss_of_other_positions(subject, monkeypatch):
    chosen = losses._chosen
    monkeypatch.setattr(
        losses, "_chosen", lambda states, count, tokens: chosen(states, count + 1, tokens)
    )
    assert "differs by" in failing("loss", subject)


def test_rows_that_depend_on_their_neighbours(subject):
    layer = subject.base.model.model.language_model.layers[0]
    layer.register_forward_hook(lambda module, inputs, hidden: hidden + 1e-2 * hidden.mean(dim=0))
    assert "480 x 320" in failing("batch equals one by one", subject)


def test_an_image_that_is_ignored(subject):
    subject.base.model.model.visual.register_forward_hook(
        lambda module, inputs, output: setattr(output, "pooler_output", output.pooler_output * 0)
    )
    assert "the image is ignored" in failing("image is seen", subject)


def test_prompts_that_are_padded_on_the_right(subject, monkeypatch):
    padded = collation._padded
    monkeypatch.setattr(
        collation, "_padded", lambda *arguments, left=False, **others: padded(*arguments, **others)
    )
    assert "padded on the left" in failing("captions", subject)


def test_a_target_set_without_layers(subject):
    assert "adapter.targets must match linear layers" in failing(
        "targets", replace(subject, targets=("re:nothing",))
    )


def test_a_pack_whose_slots_mix(subject, monkeypatch):
    from workers.packing.linear import PackedLinear

    forward = PackedLinear.forward
    monkeypatch.setattr(
        PackedLinear,
        "forward",
        lambda self, x: forward(self, x) + 1e-3 * forward(self, x).mean(dim=0),
    )
    assert "in a pack a loss differs" in failing("packing", subject)


def test_features_that_are_not_those_of_the_pixels(subject, monkeypatch):
    family = type(subject.base.family)
    features = family.image_features
    monkeypatch.setattr(
        family,
        "image_features",
        lambda self, base, images: [own + 0.1 for own in features(self, base, images)],
    )
    assert "with kept features" in failing("kept features", subject)


def test_what_an_architecture_does_not_offer_is_no_fault(subject):
    def check():
        raise NotPossibleError("it has none")

    found = finding_of("features", check)
    assert (found.outcome, found.detail) == ("not possible", "it has none")


def test_a_folder_that_does_not_load_is_the_only_finding(tmp_path):
    (only,) = examine(str(tmp_path))
    assert (only.check, only.outcome) == ("loads", "failed")
    assert "model.base" in only.detail


def test_checks_leave_the_base_as_it_was(subject):
    before = {name: own.clone() for name, own in subject.base.model.state_dict().items()}
    for check in ("snapshot and resume", "export to plain peft", "targets", "packing"):
        CHECKS[check](subject)
    after = subject.base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], own) for name, own in before.items())
