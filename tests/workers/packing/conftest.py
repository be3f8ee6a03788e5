"""Recipes of trials that differ in everything a pack lets them differ in, and plain peft."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from workers import data
from workers.encoding.collation import on_device
from workers.families import target_pattern
from workers.families.prompts import PromptBuilder
from workers.models.loading import load_base
from workers.recipe import Recipe
from workers.training.loop import Examples, epoch_windows, learning_rate, steps_per_epoch

CPU = torch.device("cpu")


@pytest.fixture
def make_recipe():
    """Return a recipe on a base; dotted fields change it."""

    def make(base, **fields):
        whole = Recipe.model_validate(
            {
                "model": {"base": str(base)},
                "data": {"source": "shapes", "limit": 8,
                         "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
                "train": {"epochs": 2, "batch_size": 4, "learning_rate": 5e-3},
                "adapter": {"rank": 4, "alpha": 8.0, "dropout": 0.0},
                "evaluate": {"metrics": ["exact_match"], "max_new_tokens": 4},
            }
        )  # fmt: skip
        return whole.with_point(fields)

    return make


def _examples_of(base, recipe):
    """Return the training pairs of a recipe."""
    return Examples.of(
        base,
        data.load(recipe.data).splits["train"],
        PromptBuilder(task=recipe.task, prompt=recipe.prompt),
    )


def _train_pack(pack, recipes, examples):
    """Train all recipes together, each for its epochs; return each one's losses per epoch."""
    for name, recipe in recipes.items():
        pack.admit(name, recipe)
        pack.begin(name, examples)
    losses = {name: [] for name in recipes}
    while pack.busy:
        for trained in pack.step():
            name = trained.slot.name
            assert trained.error is None
            losses[name].append(trained.loss)
            if trained.slot.rung < recipes[name].train.epochs:
                pack.begin(name, examples)
    return losses


def _train_plain(recipe, windows=epoch_windows, groups=lambda model: []):
    """Train with transformers, peft and torch alone; return losses per epoch and each B A.

    `windows` gives the examples of each optimizer step, as `epoch_windows` does; `groups` those of
    the optimizer with a factor of the learning rate each, none for one of all weights.
    """
    base = load_base(recipe.model, recipe.quantization, CPU)
    examples = _examples_of(base, recipe)
    train, adapter = recipe.train, recipe.adapter
    torch.manual_seed(train.seed)
    model = get_peft_model(
        base.model,
        LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, use_rslora=adapter.variant == "rslora",
            target_modules=target_pattern(base.family, adapter.targets),
            init_lora_weights=True if adapter.init == "default" else adapter.init,
        ),
    )  # fmt: skip
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(groups(model) or trained, weight_decay=train.weight_decay)
    per_epoch = steps_per_epoch(len(examples.pairs), train)
    model.train()
    means, step = [], 0
    for epoch in range(train.epochs):
        losses = []
        for window in windows(len(examples.pairs), epoch, train):
            rate = learning_rate(step, train.epochs * per_epoch, train)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("factor", 1.0)
            losses.append(_plain_step(base, model, examples, window, train))
            torch.nn.utils.clip_grad_norm_(trained, train.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
        means.append(sum(losses) / len(losses))
    return means, products_of_peft(model)


def _plain_step(base, model, examples, window, train):
    batches = [on_device(base, examples.batch(base, chosen)) for chosen in window]
    shift = 0 if base.encoder_decoder else 1
    counts = [int((batch["labels"][:, shift:] != -100).sum()) for batch in batches]
    total = 0.0
    for batch, count in zip(batches, counts, strict=True):
        out = model(**batch)
        loss = out.loss
        if train.label_smoothing:
            labels = batch["labels"][:, shift:]
            logits = out.logits[:, -batch["labels"].shape[1] :][:, : labels.shape[1]]
            loss = torch.nn.functional.cross_entropy(  # as transformers' own, in float32
                logits.flatten(0, 1).float(), labels.flatten(),
                label_smoothing=train.label_smoothing,
            )  # fmt: skip
        loss = loss * count / sum(counts)
        loss.backward()
        total += loss.item()
    return total


def products_of_peft(model):
    """Return path -> scale B A of a peft model."""
    found = {}
    for path, module in model.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            product = module.lora_B["default"].weight @ module.lora_A["default"].weight
            path = path.removeprefix("base_model.model.")
            found[path] = product.detach() * module.scaling["default"]
    return found


def _products_of_pack(pack, name):
    """Return path -> scale B A of a slot."""
    slot = pack._slots[name]
    matrices = slot.arena.matrices("values", name)
    return {path: b @ a * slot.fresh.scale for path, (a, b) in matrices.items()}


def _distance(products, reference):
    """Return the relative distance of two sets of products, over all layers."""
    assert products.keys() == reference.keys()
    difference = sum((products[path] - reference[path]).square().sum() for path in reference)
    return float((difference / sum(r.square().sum() for r in reference.values())).sqrt())


@pytest.fixture
def examples_of():
    """Return a function: base, recipe -> training pairs."""
    return _examples_of


@pytest.fixture
def train_pack():
    """Return a function: pack, recipes by name, examples -> losses per epoch by name."""
    return _train_pack


@pytest.fixture
def train_plain():
    """Return a function: recipe -> losses per epoch and B A per layer, by plain peft alone."""
    return _train_plain


@pytest.fixture
def product_distance():
    """Return a function: pack, name, products of plain peft -> relative distance."""
    return lambda pack, name, reference: _distance(_products_of_pack(pack, name), reference)


@pytest.fixture
def distance():
    """Return a function: two sets of B A by layer -> their relative distance."""
    return _distance
