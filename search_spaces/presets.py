"""Presets: functions that return a ready search space, one line in `PRESETS` each.

The first paragraph of their docstrings is what is searched; the others are the reasons, and
`sweeps space NAME` prints those.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from search_spaces.domains import Choice, Domain, LogUniform, Uniform
from search_spaces.rules import Rule
from search_spaces.space import Space


@dataclass(frozen=True)
class Preset:
    """A named space with the rules that its points keep."""

    space: Space
    rules: tuple[Rule, ...] = ()


def lora() -> Preset:
    """Return the space of rank and learning rate.

    The learning rate matters most: tuned well, the variants of LoRA end within a percent or two
    of each other.

    Alpha is not searched and stays as the recipe has it: the update is ``alpha / rank * B A``,
    so alpha and the learning rate scale the same thing, and searching both spends trials on
    points that differ in name only. With alpha fixed the best learning rate hardly depends on
    the rank; with ``alpha / rank`` fixed it falls as the rank grows, which would tie the two
    dimensions together (Schulman et al. 2025, "LoRA Without Regret").
    """
    rank, rate = Choice((4, 8, 16, 32)), LogUniform(1e-5, 1e-3)
    return Preset(Space({"adapter.rank": rank, "train.learning_rate": rate}))


def qlora() -> Preset:
    """Return the space of `lora` and how the base is stored: plain, in 8 or in 4 bits.

    Whether a smaller base costs quality depends on the model and the data, so it is worth
    three values. A host keeps one base for each of them: remove one where memory is short.
    """
    return Preset(Space({**lora().space, "quantization": Choice(("none", "int8", "nf4"))}))


def lora_plus_targets() -> Preset:
    """Return the space of `lora` and which layers are adapted.

    Adapters on query and value alone lag behind those on all text layers even at equal numbers
    of weights, because the MLPs hold most of what is learned; whether the image side should
    learn, too, depends on how far the images are from those of pretraining.
    """
    targets = Choice(("text", "text_all", "all"))
    return Preset(Space({**lora().space, "adapter.targets": targets}))


def optimizer() -> Preset:
    """Return the space of learning rate, warm-up, decay, weight decay and batch.

    For an adapter that is settled already: rank, alpha and targets stay as the recipe has them,
    so that the learning rate's scale is the same in all points.

    The batch grows by ``train.accumulate``, not by ``train.batch_size``: the memory that a trial
    needs stays the same. Its best learning rate differs, which is why both are searched.
    """
    fields: dict[str, Domain] = {
        "train.learning_rate": LogUniform(1e-5, 1e-3),
        "train.warmup": Uniform(0.0, 0.2, 0.05),
        "train.decay": Choice(("constant", "linear", "cosine")),
        "train.weight_decay": Choice((0.0, 0.01, 0.1)),
        "train.accumulate": Choice((1, 2, 4, 8)),
    }
    return Preset(Space(fields))


def full() -> Preset:
    """Return the spaces of all other presets together, with variant and dropout.

    For large budgets: TPE needs some hundred trials before the small dimensions among these say
    anything. Alpha is left out for the reason that `lora` gives. DoRA reads the weights of the
    base, which int8 moves away, so the two never come together.
    """
    fields = {
        **lora_plus_targets().space,
        **qlora().space,
        "adapter.variant": Choice(("lora", "rslora", "dora")),
        "adapter.dropout": Uniform(0.0, 0.2, 0.05),
        **optimizer().space,
    }
    rule = Rule("not (quantization == 'int8' and adapter.variant == 'dora')")
    return Preset(Space(fields), (rule,))


PRESETS: Mapping[str, Callable[[], Preset]] = {
    "lora": lora,
    "qlora": qlora,
    "lora-plus-targets": lora_plus_targets,
    "optimizer": optimizer,
    "full": full,
}
