"""The host against plain peft, and its slots against each other."""

import math

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from workers import data
from workers.families import git
from workers.features.store import Store
from workers.host.host import Host
from workers.slots.sequential import SequentialTrainer
from workers.training.loop import NonFiniteLossError


@pytest.fixture
def host():
    host = Host(device="cpu", threads=1, packing=False)
    yield host
    host.close()


def metrics(report):
    """A report's metrics without the times."""
    times = ("measured/seconds_per_epoch", "measured/latency_ms")
    return {name: v for name, v in report.metrics.items() if name not in times}


def plain_peft_losses(recipe):
    """Train the recipe with transformers and peft alone; mean training loss per epoch.

    Dropout draws, data order and schedule are written out here once more, from their
    definitions, so that a mistake in the project's own does not hide itself.
    """
    train, adapter = recipe.train, recipe.adapter
    processor = AutoProcessor.from_pretrained(recipe.model.base)
    model = AutoModelForImageTextToText.from_pretrained(recipe.model.base)
    torch.manual_seed(train.seed)
    model = get_peft_model(
        model,
        LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.alpha,
            lora_dropout=adapter.dropout,
            target_modules=git.FAMILY.TARGETS[adapter.targets],
        ),
    )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=train.learning_rate, weight_decay=0.0)
    pairs = [(s, caption) for s in data.load(recipe.data).splits["train"] for caption in s.captions]
    window = train.batch_size * train.accumulate
    steps = math.ceil(len(pairs) / window) * train.epochs
    warmup = round(train.warmup * steps)
    torch.manual_seed(train.seed)
    model.train()
    means, step = [], 0
    for epoch in range(train.epochs):
        order = torch.randperm(
            len(pairs), generator=torch.Generator().manual_seed(train.seed * 1_000_003 + epoch)
        ).tolist()
        losses = []
        for start in range(0, len(pairs), window):
            rising, falling = (step + 1) / max(1, warmup), (steps - step) / (steps - warmup)
            for group in optimizer.param_groups:
                group["lr"] = train.learning_rate * (rising if step < warmup else falling)
            rows = order[start : start + window]
            batches = []
            for first in range(0, len(rows), train.batch_size):
                chosen = [pairs[row] for row in rows[first : first + train.batch_size]]
                batch = processor(
                    images=[sample.open() for sample, _ in chosen],
                    text=[caption for _, caption in chosen],
                    padding=True,
                    return_tensors="pt",
                )
                batch.pop("token_type_ids", None)
                ids = batch["input_ids"]
                batch["labels"] = ids.masked_fill(batch["attention_mask"] == 0, -100)
                batches.append(batch)
            counts = [int((batch["labels"][:, 1:] != -100).sum()) for batch in batches]
            total = 0.0
            for batch, count in zip(batches, counts, strict=True):
                loss = model(**batch).loss * count / sum(counts)
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(trained, train.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(total)
            step += 1
        means.append(sum(losses) / len(losses))
    return means


def test_losses_equal_those_of_a_hand_written_loop(host, recipe):
    host.admit("one", recipe)
    reports = [host.advance("one") for _ in range(recipe.train.epochs)]
    expected = plain_peft_losses(recipe)
    assert [report.metrics["train/loss"] for report in reports] == pytest.approx(expected, abs=1e-6)
    assert expected[-1] < expected[0]
    assert [report.rung for report in reports] == [1, 2, 3]
    assert [report.finished for report in reports] == [False, False, True]


def test_slots_that_take_turns_equal_trials_alone(host, recipe):
    other = recipe.with_point({"adapter.rank": 2, "train.learning_rate": 3e-3, "train.seed": 5})
    recipes = {"one": recipe, "two": other}
    for name, one in recipes.items():
        host.admit(name, one)
    together = {name: [] for name in recipes}
    for _ in range(3):
        for name in recipes:
            together[name].append(metrics(host.advance(name)))
    for name, one in recipes.items():
        alone = Host(device="cpu", threads=1, packing=False)
        alone.admit(name, one)
        assert [metrics(alone.advance(name)) for _ in range(3)] == together[name]


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_resume_is_bit_identical(host, recipe, tmp_path, quantization):
    recipe = recipe.with_point({"quantization": quantization})
    host.admit("one", recipe)
    host.advance("one")
    host.snapshot("one", tmp_path / "rung-1")
    through = [metrics(host.advance("one")) for _ in range(2)]
    host.export("one", tmp_path / "through")
    fresh = Host(device="cpu", threads=1, packing=False)
    fresh.restore("again", recipe, tmp_path / "rung-1")
    torch.manual_seed(99)  # the process's own random state must not matter
    assert [metrics(fresh.advance("again")) for _ in range(2)] == through
    fresh.export("again", tmp_path / "resumed")
    one, other = (
        load_file(tmp_path / folder / "adapter_model.safetensors")
        for folder in ("through", "resumed")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def trained(trainer, name, examples):
    """Train an epoch without any scoring; its mean loss."""
    trainer.begin(name, examples)
    while trainer.busy:
        done = trainer.step()
    return done[0].loss


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_scoring_between_epochs_does_not_change_quantized_training(host, recipe, quantization):
    """Linear4bit repacks its weights in eval mode on some CPUs and then loses gradients."""
    recipe = recipe.with_point({"quantization": quantization, "adapter.dropout": 0.0})
    host.admit("scored", recipe)
    scored = [host.advance("scored").metrics["train/loss"] for _ in range(3)]
    never = Host(device="cpu", threads=1, packing=False)
    never.admit("never", recipe)
    trainer, examples = never.residents.trainer(recipe), never.residents.examples(recipe)
    assert isinstance(trainer, SequentialTrainer)
    assert [trained(trainer, "never", examples) for _ in range(3)] == scored
    assert scored[2] < scored[0]


def test_the_base_is_as_before_when_the_last_slot_leaves(host, recipe):
    before = host.admit("one", recipe)
    host.advance("one")
    host.evict("one")
    model = host.residents.trainer(recipe).adapted.model
    assert not isinstance(model, PeftModel)
    assert not any("lora" in name for name, _ in model.named_modules())
    fresh = AutoModelForImageTextToText.from_pretrained(recipe.model.base)
    left = model.state_dict()
    assert all(torch.equal(left[name], value) for name, value in fresh.state_dict().items())
    assert host.admit("two", recipe).metrics == before.metrics


def test_rung_0_is_the_base_alone(host, recipe):
    report = host.admit("one", recipe)
    assert report.rung == 0
    assert not report.finished
    assert set(report.metrics) == {
        "val/exact_match", "val/loss", "measured/adapter_mb", "measured/trainable_parameters",
    }  # fmt: skip
    assert [p.image_id for p in report.predictions] == [
        sample.id for sample in data.load(recipe.data).splits["validation"]
    ]


def test_final_scores_come_from_the_saved_adapter(host, recipe, tmp_path):
    host.admit("one", recipe)
    host.advance("one")
    host.export("one", tmp_path)
    host.advance("one")
    final = host.score("one", tmp_path)
    assert set(final.metrics) == {"final/exact_match"}
    plain = PeftModel.from_pretrained(
        AutoModelForImageTextToText.from_pretrained(recipe.model.base), tmp_path
    ).eval()
    processor = AutoProcessor.from_pretrained(recipe.model.base)
    sample = data.load(recipe.data).splits["validation"][0]
    pixels = processor(images=sample.open(), return_tensors="pt")["pixel_values"]
    output = plain.generate(pixel_values=pixels, num_beams=2, max_new_tokens=4, do_sample=False)
    expected = processor.batch_decode(output, skip_special_tokens=True)[0].strip()
    assert final.predictions[0].caption == expected
    again = host.advance("one")  # the slot trains on with its own weights
    assert again.rung == 3


def test_a_loss_that_leaves_the_numbers_is_named(host, recipe):
    point = {"train.learning_rate": 1e30, "train.max_grad_norm": None, "guard.stop": False}
    host.admit("one", recipe.with_point(point))
    with pytest.raises(NonFiniteLossError, match=r"train/loss is (nan|inf).*learning_rate"):
        host.advance("one")


COLLAPSING = {"train.learning_rate": 10.0, "train.epochs": 4, "data.limit": 32}
"""Every image gets the same words, or none; 8 images are enough to tell."""


def test_the_guard_stops_at_once_on_such_a_loss(host, recipe):
    host.admit("one", recipe.with_point({"train.learning_rate": 1e30, "train.max_grad_norm": None}))
    report = host.advance("one")
    assert (report.rung, report.collapsed, report.finished) == (1, True, False)
    assert not math.isfinite(report.metrics["train/loss"])
    assert report.diagnosis.startswith("rung 1: train/loss is ")
    assert report.predictions == ()


def test_a_collapse_is_named_and_stopped_at_its_second_rung(host, recipe):
    before = host.admit("one", recipe.with_point(COLLAPSING))
    assert (before.symptoms, before.collapsed) == ((), False)
    reports = [host.advance("one") for _ in range(2)]
    assert [report.collapsed for report in reports] == [False, True]
    assert reports[1].diagnosis.startswith("rung 2: 100 % of 8 images got ")
    assert "val/exact_match" in reports[1].metrics


def test_the_guard_counts_on_after_a_resume(host, recipe, tmp_path):
    recipe = recipe.with_point(COLLAPSING)
    host.admit("one", recipe)
    host.advance("one")
    host.snapshot("one", tmp_path)
    host.restore("again", recipe, tmp_path)
    assert host.advance("again").collapsed


def test_a_healthy_rung_ends_the_count(host, recipe):
    host.admit("one", recipe.with_point({"adapter.dropout": 0.0}))
    host._slot("one").slot.unhealthy_rungs = 1
    assert host.advance("one").symptoms == ()
    assert host._slot("one").slot.unhealthy_rungs == 0


def test_without_its_stop_the_guard_only_names_the_symptoms(host, recipe):
    host.admit("one", recipe.with_point({**COLLAPSING, "guard.stop": False}))
    reports = [host.advance("one") for _ in range(4)]
    assert not any(report.collapsed for report in reports)
    assert reports[1].symptoms[0].startswith("100 % of 8 images got ")
    assert reports[-1].finished


def test_unknown_slots_and_incomplete_snapshots_are_named(host, recipe, tmp_path):
    with pytest.raises(KeyError, match="no slot 'lost'"):
        host.advance("lost")
    with pytest.raises(FileNotFoundError, match="no complete snapshot"):
        host.restore("one", recipe, tmp_path)
    host.evict("lost")


def test_wrong_targets_and_bases_name_their_field(host, recipe):
    with pytest.raises(ValueError, match=r"adapter\.targets must be one of text.*got 'legs'"):
        host.admit("one", recipe.with_point({"adapter.targets": "legs"}))
    with pytest.raises(ValueError, match=r"model\.base"):
        host.admit("one", recipe.with_point({"model.base": "/nowhere/at-all"}))


def test_recipes_with_other_prompts_share_a_base_and_nothing_else(host, recipe):
    asked = recipe.with_point({"prompt.text": "a disc beside"})
    plain, prompted = host.admit("plain", recipe), host.admit("prompted", asked)
    assert plain.metrics["val/loss"] != prompted.metrics["val/loss"]
    together = [metrics(host.advance(name)) for name in ("plain", "prompted")]
    for name, one, expected in zip(("plain", "prompted"), (recipe, asked), together, strict=True):
        alone = Host(device="cpu", threads=1, packing=False)
        alone.admit(name, one)
        assert metrics(alone.advance(name)) == expected
    assert len(host.residents) == 1


def test_captions_are_written_from_their_first_rung_on_and_always_at_the_end(host, recipe):
    quick = recipe.with_point({"train.epochs": 2, "evaluate.from_rung": 2})
    host.admit("late", quick)
    first, last = host.advance("late"), host.advance("late")
    assert (first.predictions, first.scored) == ((), None)
    assert "val/loss" in first.metrics
    assert last.predictions
    short = quick.with_point({"train.epochs": 1, "evaluate.from_rung": 5})
    host.admit("short", short)
    assert host.advance("short").predictions


def test_the_last_scoring_takes_the_whole_split_or_its_own_limit(host, recipe, tmp_path):
    few = recipe.with_point({"evaluate.limit": 3})
    whole = host.data_set(recipe).splits["validation"]
    assert host.final_samples(few) == whole == host.final_samples(recipe)
    limited = few.with_point({"evaluate.final_limit": 4})
    host.admit("few", limited)
    host.export("few", tmp_path)
    assert len(host.score("few", tmp_path).predictions) == 4


def test_only_trials_that_train_the_image_encoder_see_pixels(host, recipe):
    """Two trials on one base, rung by rung in turns; captions and both losses included."""
    host.admit("text", recipe)
    seen = _images_seen(host, "text")
    host.admit("all", recipe.with_point({"adapter.targets": "all"}))
    images = {sample.id for split in ("train", "validation") for sample in
              host.data_set(recipe).splits[split]}  # fmt: skip
    host.advance("text")
    assert sum(seen) <= len(images)  # those of rung 0 had been seen before
    for name, again in (("all", True), ("text", False), ("all", True), ("text", False)):
        seen.clear()
        host.advance(name)
        assert bool(seen) is again


def _images_seen(host, name):
    """Sizes of the batches that go through the image encoder from now on."""
    seen = []
    encoder = host.residents.trainer(
        host._slot(name).slot.recipe
    ).adapted.base.model.git.image_encoder.vision_model
    encoder.register_forward_pre_hook(
        lambda module, args, named: seen.append(len((args or tuple(named.values()))[0])),
        with_kwargs=True,
    )
    return seen


def test_a_trial_on_features_is_one_on_pixels(recipe, monkeypatch):
    def reports():
        host = Host(device="cpu", threads=1)
        baseline = host.admit("one", recipe)
        return [baseline, *(host.advance("one") for _ in range(3))]

    features = reports()
    monkeypatch.setattr(Store, "of", lambda *given: None)
    for one, other in zip(features, reports(), strict=True):
        assert metrics(one) == pytest.approx(metrics(other), rel=1e-5)
        assert one.predictions == other.predictions
