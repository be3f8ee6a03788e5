"""Checks of how adapters are trained on a base, kept, packed and exported."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from workers.contract.findings import NotPossibleError
from workers.contract.subject import CPU, Subject, logits_by_hand, losses
from workers.evaluation.generation import generate
from workers.evaluation.inspection import why_not_trained
from workers.features.store import Store
from workers.models.adapters import AdaptedBase
from workers.models.targets import adapted_layers, experts_note
from workers.packing.eligible import why_not_packed
from workers.packing.pack import Pack
from workers.recipe import Recipe
from workers.slots.protocol import Trainer
from workers.slots.sequential import SequentialTrainer
from workers.training.loop import Examples

EXACT = 1e-4
"""Largest difference of two losses that are to be equal, in float32."""
OPTIONAL = ("vision", "all")
"""Target sets that may match no linear layer of an architecture without a family of its own."""


def check_targets(subject: Subject) -> str:
    """Every target set has linear layers, of which some get a gradient."""
    base = subject.base
    found = []
    for targets in subject.targets or base.family.TARGETS:
        recipe = subject.recipe.with_point({"adapter.targets": targets})
        try:
            layers = adapted_layers(recipe.adapter, base)
        except ValueError:
            if targets not in OPTIONAL:
                raise
            found.append(f"{targets} none")
            continue
        idle = _without_gradient(subject, recipe, layers)
        assert len(idle) < len(layers), f"no layer of {targets} gets a gradient"
        note = f" ({len(idle)} without gradient, such as {idle[0]})" if idle else ""
        found.append(f"{targets} {len(layers)}{note}")
    experts = experts_note({name: own.shape for name, own in base.model.named_parameters()})
    return "layers: " + ", ".join(found) + (f"; experts are {experts}" if experts else "")


def _without_gradient(subject: Subject, recipe: Recipe, layers: Sequence[str]) -> list[str]:
    """Return the adapted layers that a step would leave as they are."""
    adapted = AdaptedBase(subject.base)
    adapted.attach("check", recipe.adapter, recipe.train.seed)
    batch = subject.examples.batch(subject.base, range(len(subject.samples)))
    loss = losses(subject.base, adapted.model.train(), batch).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    weights = adapted.parameters("check")[1::2]  # B, for the gradient of A is 0 at first
    adapted.detach("check")
    adapted.model.eval()
    pairs = zip(layers, weights, strict=True)
    return [path for path, own in pairs if own.grad is None or not own.grad.any()]


def check_resume(subject: Subject) -> str:
    """A trial that resumes from its snapshot has the losses and weights of one that went on."""
    base, recipe = subject.base, subject.recipe
    trainers: list[Trainer] = [SequentialTrainer(base), SequentialTrainer(base)]
    with tempfile.TemporaryDirectory() as folder:
        first = trainers[0].admit("first", recipe)
        _epochs(trainers[0], {"first": recipe}, subject.examples, 1)
        first.snapshot(Path(folder))
        expected = _epochs(trainers[0], {"first": recipe}, subject.examples, 1)["first"]
        weights = [weight.detach().clone() for weight in first.weights()]
        trainers[0].evict("first")
        again = trainers[1].admit("again", recipe)
        again.restore(Path(folder))
        resumed = _epochs(trainers[1], {"again": recipe}, subject.examples, 1)["again"]
        same = all(torch.equal(*pair) for pair in zip(weights, again.weights(), strict=True))
        trainers[1].evict("again")
    assert resumed == expected, f"losses of {resumed} in place of {expected}"
    assert same, "weights differ after the resumed epoch"
    return f"the second epoch's loss is {resumed[0]:.4f} in both"


def check_export(subject: Subject) -> str:
    """An exported adapter has the same logits in plain peft, on a base that it loads itself."""
    base, recipe = subject.base, subject.recipe
    trainer = SequentialTrainer(base)
    slot = trainer.admit("check", recipe)
    _epochs(trainer, {"check": recipe}, subject.examples, 1)
    batch = subject.examples.batch(base, [0])
    images, prompts = subject.examples.images([0, 1]), subject.examples.prompts[:2]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        slot.export(Path(folder))
        own = slot.activate().eval()
        model = AutoModelForImageTextToText.from_pretrained(
            base.model.name_or_path, trust_remote_code=False, use_safetensors=True
        )
        base.family.check(replace(base, model=model))  # corrects GIT in transformers before 5.18
        plain = PeftModel.from_pretrained(model, folder).eval()
        logits = [logits_by_hand(base, each, batch) for each in (own, plain)]
        written = [
            [
                generate(base, each, images, prompts, beams=beams, max_new_tokens=6)
                for beams in (1, 3)
            ]
            for each in (own, plain)
        ]
    matrices = len(slot.weights())
    trainer.evict("check")
    difference = float((logits[0] - logits[1]).abs().max())
    assert difference == 0, f"in plain peft a logit differs by {difference:.2g}"
    assert written[0] == written[1], "plain peft writes other captions"
    return f"{matrices} matrices: the same logits and captions"


def check_packing(subject: Subject) -> str:
    """Trials of unlike ranks, rates and targets have the losses in a pack that they have alone."""
    base = subject.base
    recipes = {
        "first": subject.recipe,
        "second": subject.recipe.with_point({"adapter.rank": 12, "train.seed": 7}),
        "third": subject.recipe.with_point(
            {"adapter.targets": "text", "train.learning_rate": 3e-3}
        ),
    }
    for recipe in recipes.values():
        layers = adapted_layers(recipe.adapter, base)
        if reason := why_not_packed(recipe, base.family, layers):
            raise NotPossibleError(f"trials train one after the other: {reason}")
    alone: dict[str, list[float]] = {}
    for name, recipe in recipes.items():
        trainer = SequentialTrainer(base)
        trainer.admit(name, recipe)
        alone |= _epochs(trainer, {name: recipe}, subject.examples, 2)
        trainer.evict(name)
    pack = Pack(base)
    for name, recipe in recipes.items():
        pack.admit(name, recipe)
    packed = _epochs(pack, recipes, subject.examples, 2)
    differences = (abs(a - b) for n in recipes for a, b in zip(alone[n], packed[n], strict=True))
    difference = max(differences)
    assert difference < EXACT, f"in a pack a loss differs by {difference:.2g}"
    return f"ranks 4 and 12, two target sets: losses differ by {difference:.1g} at most"


def check_features(subject: Subject) -> str:
    """Kept features of images have the losses of their pixels."""
    base = subject.base
    store = Store.of(base)
    if store is None:
        known = base.family.traits
        raise NotPossibleError(
            known.no_features if known and known.no_features else "not known where they are"
        )
    pairs = subject.examples_of(subject.samples, store)
    places = range(len(pairs.pairs))
    with torch.no_grad():
        kept = losses(base, base.model, pairs.batch(base, places))
        computed = losses(base, base.model, subject.examples.batch(base, places))
    difference = float((kept - computed).abs().max())
    assert difference < EXACT, f"with kept features a token's loss differs by {difference:.2g}"
    return f"losses differ by {difference:.1g} at most from those with pixels"


def check_int8(subject: Subject) -> str:
    """In int8 the base loads and trains a step."""
    return _quantized(subject, "int8")


def check_nf4(subject: Subject) -> str:
    """In nf4 the base loads and trains a step."""
    return _quantized(subject, "nf4")


def _quantized(subject: Subject, quantization: str) -> str:
    fault = why_not_trained(subject.recipe, quantization, subject.examples, CPU)
    if fault:
        raise NotPossibleError(f"trains unquantized alone: {fault}")
    return "loads and trains a step"


def _epochs(
    trainer: Trainer, recipes: Mapping[str, Recipe], examples: Examples, epochs: int
) -> dict[str, list[float]]:
    """Train slots for so many epochs more; return the losses of each."""
    found: dict[str, list[float]] = {name: [] for name in recipes}
    for name in recipes:
        trainer.begin(name, examples)
    while trainer.busy:
        for trained in trainer.step():
            name = trained.slot.name
            if trained.error:
                raise trained.error
            found[name].append(trained.loss)
            if len(found[name]) < epochs:
                trainer.begin(name, examples)
    return found
