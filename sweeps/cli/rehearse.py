"""``sweeps run --rehearse``: the same sweep, so small that it ends in about a minute.

Before it runs, all that it reads is looked at; afterwards the problems that the sweep would meet
are printed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from search_spaces.rules import Forbidden, Rule
from sweeps.capacity import adapted
from sweeps.capacity.memory import local_files
from sweeps.cli.check_data import problems_refusal
from sweeps.quiet import quiet_libraries
from sweeps.spec.load import Sweep
from sweeps.spec.problems import refused
from workers.families import REGEX
from workers.files.addresses import is_address
from workers.measures import MEASURES
from workers.models import checkpoint_files, small_files
from workers.recipe import Model
from workers.tiny import stand_in
from workers.tiny.stand_in import StandIn

if TYPE_CHECKING:
    from workers.contract import Finding
    from workers.evaluation.inspection import Inspection

BASES = "rehearsal-bases"
"""Folder of the stand-ins, among the results: on a cluster all nodes must see it."""
IMAGES, TRIALS, EPOCHS, BATCH, NEW_TOKENS, SCORED = 32, 2, 2, 2, 16, 8
"""Upper limits of the small sweep: a real vocabulary is large, so batches are small; `SCORED` are
validation images."""
SUFFIX = "-rehearsal"
READING = ("prompt and target", "loss", "batch equals one by one", "image is seen")
"""Checks of `workers.contract` that a rehearsal makes: the data's own images may all be alike."""
SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}
"""Half of the images train, so that enough are left to be scored."""
HELD_OUT = 1 / 3
"""The share of train's images for validation where the split is by names."""
_NAME_CHARACTERS = 100  # the longest name of a sweep
_SHOWN = 2  # pairs that are printed
_PROBLEMS = 10  # lines of problems that are printed


def rehearse(sweep: Sweep, results: Path, console: Console) -> int:
    """Rehearse a sweep and return the exit code of the command, above 0 for anything to fix.

    Raises ValueError or OSError for what a user can fix, naming the field.
    """
    from sweeps.cli.outcome import COMPLETED, NO_WINNER, run_sweep

    model = sweep.model
    with refused():
        adapted.refuse(sweep, local_files(sweep))
    here = checkpoint_files.local_folder(model.base, model.revision)
    if here is None and not is_address(model.base):
        with suppress(ValueError):  # then a tiny checkpoint of its family has to do
            small_files.fetch(model.base, model.revision)
    quiet_libraries()  # before peft, which comes with the next import and talks otherwise
    from workers.evaluation.inspection import inspect

    base = stand_in.make(
        model.base, model.revision, results.absolute() / BASES, deep=names_layers(sweep)
    )
    small = small_sweep(sweep, base.base)
    found = inspect(small.recipe, small.swept("quantization", small.quantization))
    read = reading(base)
    for name, value in _lines(sweep, base, found, read):
        console.print(Text.assemble((f"{name:<10}", "bold"), f" {value}"), soft_wrap=True)
    console.print()
    code = run_sweep(small, results, None, console)
    faults = [*(f"{one.check}: {one.detail}" for one in read if one.outcome == "failed")]
    faults += faults_of(sweep, found)
    verdict = "data, prompts, labels, metrics and tracking work"
    if faults or code:
        verdict = "to fix before the sweep" if faults else "did not end well, see above"
    style = "red" if faults or code else "green"
    console.print(f"rehearsal of {sweep.name}: {verdict}", style=style)
    for fault in faults:
        console.print(f"  {fault}", soft_wrap=True)
    return NO_WINNER if code == COMPLETED and faults else code


def reading(base: StandIn) -> "list[Finding]":
    """Return what is found of how the base reads: prompts, and images of unlike shapes at once."""
    import torch

    from workers.contract import CHECKS, Subject, findings
    from workers.models.loading import load_base

    model = Model(base=base.base)
    subject = Subject(model=model, base=load_base(model, "none", torch.device("cpu")))
    return [*findings(subject, {name: CHECKS[name] for name in READING})]


def faults_of(sweep: Sweep, found: "Inspection") -> list[str]:
    """Return the faults of data and bases that would end or spoil the sweep itself."""
    faults = [f"quantization {name}: {why}" for name, why in found.quantizations.items() if why]
    if refusal := problems_refusal(sweep.data, len(found.problems)):
        faults.append(refusal)
    return faults


def _lines(
    sweep: Sweep, base: StandIn, found: "Inspection", read: "Sequence[Finding]"
) -> Iterator[tuple[str, str]]:
    """Yield the lines that are printed before the trials start, as (heading, text)."""
    from sweeps.cli.plan import memory_note

    def longest(field: str) -> int:
        return max(int(getattr(pair, field)) for pair in found.pairs)

    yield "stand-in", base.origin
    counts = ", ".join(f"{count} {split}" for split, count in found.images.items())
    yield "images", f"{counts}; any others are not looked at"
    for problem in found.problems[:_PROBLEMS] or ("none",):
        yield "problems", problem
    if len(found.problems) > _PROBLEMS:
        yield "", f"... and {len(found.problems) - _PROBLEMS} more"
    shares = [pair.coverage for pair in found.pairs]
    yield (
        "labels",
        f"of {len(shares)} targets {sum(shares) / len(shares):.1%} of the tokens are learned, "
        f"of the worst one {min(shares):.1%}; prompt, image and padding are not",
    )
    whose = "" if base.exact else ", which are the stand-in's own"
    cut = f": {', '.join(found.truncated[:3])}" if found.truncated else ""
    more = ", ..." if len(found.truncated) > 3 else ""
    yield "truncated", f"{len(found.truncated)} at {found.positions} positions{whose}{cut}{more}"
    yield (
        "tokens",
        f"prompts of up to {longest('prompt_tokens')}, with those of the image if it has any; "
        f"targets of up to {longest('target_tokens')}, with the end of text",
    )
    for pair in found.pairs[:_SHOWN]:
        yield "example", pair.id
        yield "  prompt", repr(pair.prompt)[1:-1]
        yield "  target", repr(pair.target)[1:-1]
    for one in read:
        yield "reading", f"{one.check}: {one.outcome}, {one.detail}"
    for name, why in found.quantizations.items():
        yield "base", f"{name}: {why or 'loads and trains a step'}"
    if found.experts:
        yield "experts", found.experts
    yield "memory", f"of the sweep itself, {memory_note(sweep)}"


def names_layers(sweep: Sweep) -> bool:
    """Tell whether the sweep names modules of the base by path, which may name single layers."""
    targets = sweep.swept("adapter.targets", sweep.adapter.targets)
    named = sweep.adapter.trained_modules or sweep.model.unquantized_modules
    return bool(named) or any(each.startswith(REGEX) for each in targets)


def small_sweep(sweep: Sweep, base: str) -> Sweep:
    """Return the sweep with another base, a handful of images, two trials and names of its own.

    It keeps what a rehearsal proves: source and columns of the data, prompts, adapter, space,
    metrics, objective. Nothing is registered under the sweep's own name.
    """
    train, evaluate, search = sweep.train, sweep.evaluate, sweep.search
    values = sweep.model_dump()
    values["name"] = sweep.name[: _NAME_CHARACTERS - len(SUFFIX)] + SUFFIX
    # Kernels of the attention may want a GPU, and a stand-in is trained on a CPU.
    values["model"] |= {"base": base, "revision": None, "attn_implementation": None}
    # Bad images are to be listed, not to end the rehearsal.
    limit = min(sweep.data.limit or IMAGES, IMAGES)
    values["data"] |= {"limit": limit, "on_bad_sample": "skip"}
    split = sweep.data.split  # None is the data set's own: `limit` keeps its proportions
    if split is not None and split.named:
        held_out = split.validation if isinstance(split.validation, str) else HELD_OUT
        values["data"]["split"] |= {"validation": held_out}
    elif split is not None:
        values["data"]["split"] = {**SHARES, "test": SHARES["test"] if split.test else 0.0}
    epochs = min(train.epochs, EPOCHS)
    values["train"] |= {"epochs": epochs, "batch_size": min(train.batch_size, BATCH)}
    values["evaluate"] |= {
        "limit": min(evaluate.limit or SCORED, SCORED),
        "batch_size": min(evaluate.usual_batch, BATCH),
        "max_new_tokens": min(evaluate.max_new_tokens, NEW_TOKENS),
        "final_limit": min(evaluate.final_limit or SCORED, SCORED),
        "from_rung": min(evaluate.from_rung, EPOCHS),
    }
    # A stand-in knows no words: what it writes is no reason to stop before the last rung.
    values["guard"] |= {"stop": False}
    changed = re.compile(r"model\.|data\.|evaluate\.|train\.(epochs|batch_size)$")
    rules = [rule for rule in search.all_rules if not any(map(changed.match, rule.fields))]
    values["search"] |= {
        "space": _space(values["search"]["space"]),
        "rules": [rule for rule in rules if isinstance(rule, Rule)],
        "forbidden": [rule for rule in rules if isinstance(rule, Forbidden)],
        "trials": TRIALS,
        "budget": {},
        # Measures of a stand-in say nothing about the base itself.
        "constraints": {},
        "objective": [
            objective.model_dump()
            for objective in search.objectives
            if objective.metric not in MEASURES or not MEASURES[objective.metric].gpu
        ],
    }
    # Both trials are to reach their end, by whatever scheduler.
    values["schedule"] |= {"grace": epochs, "unpruned": None}
    values["resources"] = {"hosts": 1, "slots": 1}
    values["tracking"] |= {"experiment": sweep.tracking.experiment + SUFFIX}
    if sweep.promote:
        values["promote"] |= {"model": sweep.promote.model + SUFFIX}
    return Sweep.model_validate(values)


def _space(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space with what would make a rehearsal long, or wants a GPU, held at its least.

    A field on which others depend stays as it is: they would never be drawn.
    """
    fixed = {
        "train.epochs": EPOCHS,
        "train.batch_size": BATCH,
        "model.attn_implementation": None,
    }
    parents = {parent for domain in space.values() for parent in domain.get("when", {})}
    small = dict(space)
    for path in fixed.keys() & space.keys() - parents:
        when = {"when": space[path]["when"]} if "when" in space[path] else {}
        small[path] = {"choice": [fixed[path]], **when}
    return small
