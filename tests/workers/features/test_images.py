"""Features in place of pixels: the same losses, gradients and captions in every family."""

import copy
from functools import partial

import pytest
import torch

from workers.evaluation.generation import texts
from workers.families.prompts import PromptBuilder
from workers.features import images
from workers.features.files import TensorFiles
from workers.features.images import Features
from workers.features.store import Allowance, Store, install_bypass
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Adapter, Model, Train
from workers.training.loop import Examples, mean_loss, train_epoch
from workers.training.optimizer import AdapterOptimizer

TRAIN = Train(batch_size=3, learning_rate=1e-2, epochs=2)


@pytest.fixture
def vision_calls(base):
    """Counts what goes through the first layer that sees an image."""
    calls = []
    module = next(
        module
        for name, module in base.model.named_modules()
        if name.endswith(("patch_embedding", "patch_embed"))
    )
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def without_dropout(base):
    """Q-Formers have dropout that is left out of features."""
    for path in base.family.VISION_CHAIN:
        for module in base.model.get_submodule(path).modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0


def trained(base, examples, held_out):
    """Losses of two epochs, loss on other images, and the weights."""
    adapted = AdaptedBase(base)
    adapted.attach("one", Adapter(rank=4, alpha=8.0, dropout=0.1), seed=1)
    optimizer = AdapterOptimizer(adapted.named_parameters("one"), TRAIN)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        losses = [
            loss.item()
            for epoch in range(2)
            for loss in train_epoch(base, adapted.model, optimizer, examples, TRAIN, epoch)
        ]
    losses.append(mean_loss(base, adapted.model, held_out, batch_size=2))
    write = partial(texts, base, adapted.model, held_out.pixels, held_out.prompts, batch_size=2)
    captions = [list(write(beams=beams, max_new_tokens=6)) for beams in (1, 3)]
    weights = adapted.weights("one")
    adapted.detach("one")
    return losses, captions, weights


def test_trials_on_features_are_trials_on_pixels(base, store, samples, vision_calls):
    without_dropout(base)
    train, held_out = samples[:4], samples[3:]
    pixels = trained(base, Examples.of(base, train), Examples.of(base, held_out))
    seen = len(vision_calls)
    features = trained(
        base, Examples.of(base, train, None, store), Examples.of(base, held_out, None, store)
    )
    assert len(vision_calls) - seen == 2  # each split once, in two epochs and at two beam widths
    assert features[0] == pytest.approx(pixels[0], abs=2e-6)
    assert features[1] == pixels[1]
    for name, weights in pixels[2].items():
        assert torch.allclose(features[2][name], weights, rtol=0, atol=2e-4), name


@pytest.mark.parametrize("base", ["qwen2_5_vl", "git"], indirect=True)
def test_what_does_not_fit_is_computed_again_with_the_same_bits(base, store, samples, tmp_path):
    small = Store(base, Allowance(0), TensorFiles(tmp_path / "small", 0))
    kept, again = Features(samples, store), Features(samples, small)
    first = kept.of([2, 0, 2])
    kept.of([1])
    for one, other, third in zip(first, again.of([2, 0, 2]), kept.of([2, 0, 2]), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert third is one


@pytest.mark.parametrize("base", ["blip2-opt"], indirect=True)
def test_dropout_of_a_frozen_encoder_is_left_out(base, store, samples, tmp_path):
    calm = Features(samples, store).of([0])[0]
    base.model.train()
    for module in base.model.qformer.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    fresh = Store(base, Allowance(0), TensorFiles(tmp_path / "fresh", 0))
    assert torch.equal(Features(samples, fresh).of([0])[0]["pixel_values"], calm["pixel_values"])
    assert base.model.qformer.training  # given back as it was


@pytest.mark.parametrize("base", ["git", "qwen2_5_vl"], indirect=True)
def test_features_first_asked_for_in_inference_mode_can_be_trained_on(base, store, samples):
    examples = Examples.of(base, samples, None, store)
    adapted = AdaptedBase(base)
    adapted.attach("one", Adapter(rank=2), seed=1)
    mean_loss(base, adapted.model, examples, batch_size=5)
    optimizer = AdapterOptimizer(adapted.named_parameters("one"), Train())
    assert all(loss > 0 for loss in train_epoch(base, adapted.model, optimizer, examples, TRAIN, 0))


@pytest.mark.parametrize("base", ["blip2-t5", "paligemma"], indirect=True)
def test_a_split_that_is_seen_again_is_not_computed_again(base, store, samples, vision_calls):
    Features(samples, store).of([0, 1])
    Features(samples, store).of([4])
    assert len(vision_calls) == 1
    Features(samples[1:], store).of([0])  # beside others its last bits may be others
    assert len(vision_calls) == 2


@pytest.mark.parametrize("base", ["blip2-t5", "paligemma"], indirect=True)
def test_on_a_gpu_an_image_of_two_splits_is_computed_once(base, store, samples, vision_calls):
    for some, indices in ((samples, [0, 1]), (samples[1:], [0, 2])):
        features = Features(some, store)
        features._grouped = False  # as on a GPU
        features.of(indices)
    assert len(vision_calls) == 2


@pytest.mark.parametrize("base", ["git", "qwen2_5_vl"], indirect=True)
def test_a_feature_does_not_depend_on_what_was_asked_for(
    base, store, samples, vision_calls, tmp_path, monkeypatch
):
    monkeypatch.setattr(images, "BATCH", 2)
    fresh = Store(base, Allowance(2**30), TensorFiles(tmp_path / "fresh", 0))
    whole, one = Features(samples, store).of(range(5)), Features(samples, fresh)
    assert len(vision_calls) == 3
    for index in (3, 4, 0, 2, 1):
        (own,) = one.of([index])
        assert all(torch.equal(own[name], whole[index][name]) for name in own)
    assert len(vision_calls) == 6


@pytest.mark.parametrize("base", ["git"], indirect=True)
def test_images_of_a_split_too_large_for_memory_go_one_by_one(
    base, store, samples, vision_calls, monkeypatch
):
    monkeypatch.setattr(images, "CPU_BYTES", 0)
    Features(samples, store).of([4, 0])
    Features(samples[:1], store).of([0])  # by itself it is the same
    assert len(vision_calls) == 2


def test_pixels_and_features_take_turns(base, store, samples):
    """With another trial's adapter in the image encoder attached, which pixels go through."""
    without_dropout(base)
    pixels, features = (Examples.of(base, samples, PromptBuilder(), one) for one in (None, store))
    adapted = AdaptedBase(base)
    adapted.attach("text", Adapter(rank=2), seed=1)
    adapted.attach("all", Adapter(rank=2, targets="all"), seed=2)
    with torch.no_grad():
        for weight in adapted.parameters("all"):
            weight.normal_(0.0, 0.2, generator=torch.Generator().manual_seed(3))
    losses = {}
    for name, examples in (("text", pixels), ("text", features), ("all", pixels)) * 2:
        adapted.activate(name)
        loss = mean_loss(base, adapted.model, examples, batch_size=5)
        assert losses.setdefault(name, loss) == pytest.approx(loss, abs=2e-6)
    assert abs(losses["text"] - losses["all"]) > 1e-4


def test_a_copy_of_a_module_works_with_its_own_weights(base, store):
    """peft copies modules to train them."""
    module = base.model.get_submodule(list(base.family.VISION_CHAIN)[-1])
    other = copy.deepcopy(module)
    for weight in other.parameters():
        weight.data.zero_()
    linear = next(one for one in other.modules() if isinstance(one, torch.nn.Linear))
    assert other.forward.args[0].__self__ is other
    assert not linear.weight.any()
    assert any(weight.any() for weight in module.parameters())


@pytest.mark.parametrize("base", ["git"], indirect=True)
def test_the_time_of_a_caption_has_the_image_encoders(base, store, samples):
    """Also where it was spared; otherwise trials on pixels would look slower than they are."""
    pixels, features = (Examples.of(base, samples, None, one) for one in (None, store))
    times = {}
    for name, examples in (("pixels", pixels), ("new", features), ("kept", features)):
        if name == "kept":
            assert len(store.seconds) == len(samples)
            store.seconds[:] = [1000.0]
        list(
            texts(base, base.model, examples.pixels, examples.prompts, beams=1, batch_size=5,
                  max_new_tokens=2, seconds=times.setdefault(name, []))
        )  # fmt: skip
    assert max(map(max, times["pixels"] + times["new"])) < 1000 < min(map(min, times["kept"]))


@pytest.mark.parametrize("variant", ["git", "qwen2_5_vl", "paligemma", "blip2-opt"])
@pytest.mark.parametrize(
    ("quantization", "dtype"), [("none", "bfloat16"), ("nf4", "auto"), ("int8", "auto")]
)
def test_stored_in_any_way_a_base_has_the_same_loss(
    checkpoints, samples, tmp_path, variant, quantization, dtype
):
    model = Model(base=str(checkpoints(variant)), dtype=dtype)
    base = load_base(model, quantization, torch.device("cpu"))
    install_bypass(base)
    on_disk = Store(base, Allowance(0), TensorFiles(tmp_path / "features" / variant, 10**8))
    for _ in range(2):  # the second time from disk
        pixels, features = (
            mean_loss(base, base.model, Examples.of(base, samples, None, store), batch_size=3)
            for store in (None, on_disk)
        )
        assert features == pytest.approx(pixels, abs=1e-6)
    assert len(on_disk.seconds) == len(samples)
    carried = Features(samples, on_disk).of([0])[0]["pixel_values"]
    assert carried.dtype == base.model.dtype
