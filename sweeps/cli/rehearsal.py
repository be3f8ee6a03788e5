"""The rehearsal of a sweep: the same sweep, so small that it ends in about a minute."""

import re
from collections.abc import Mapping
from typing import Any

from search_spaces.rules import Forbidden, Rule
from sweeps.spec.sweep import Search, Sweep
from workers.families import REGEX
from workers.measures import MEASURES

IMAGES, TRIALS, EPOCHS, BATCH, NEW_TOKENS = 32, 2, 2, 2, 16
"""At most so many of each; a real vocabulary is large, so batches are small."""
SCORED = 8
"""Validation images."""
SUFFIX = "-rehearsal"
SHARES = {"train": 0.5, "validation": 0.25, "test": 0.25}
"""Half of the images train, so that enough are left to be scored."""
HELD_OUT = 1 / 3
"""The share of train's images for validation where the split is by names."""
_NAME_CHARACTERS = 100  # the longest name of a sweep


def rehearsal(sweep: Sweep, base: str) -> Sweep:
    """Return the sweep with another base, a handful of images, two trials and names of its own.

    What it keeps is what a rehearsal proves: source and columns of the data, prompts, adapter,
    space, metrics, objective. Nothing is registered under the sweep's own name.
    """
    values = sweep.model_dump()
    values["name"] = sweep.name[: _NAME_CHARACTERS - len(SUFFIX)] + SUFFIX
    values["model"] |= {"base": base, "revision": None}
    values["data"] |= _data(sweep)
    values["train"] |= {
        "epochs": min(sweep.train.epochs, EPOCHS),
        "batch_size": min(sweep.train.batch_size, BATCH),
    }
    values["evaluate"] |= _evaluate(sweep)
    # A stand-in knows no words: what it writes is no reason to stop before the last rung.
    values["guard"] |= {"stop": False}
    values["search"] |= {"space": _space(values["search"]["space"]), "trials": TRIALS}
    values["search"] |= {**_rules(sweep.search), "budget": {}}
    # What is measured of a stand-in says nothing of the base itself.
    values["search"] |= {"constraints": {}, "objective": _scored(sweep)}
    # Both trials are to reach their end, by whatever scheduler.
    values["schedule"] |= {"grace": values["train"]["epochs"], "unpruned": None}
    values["resources"] = {"hosts": 1, "slots": 1}
    values["tracking"] |= {"experiment": sweep.tracking.experiment + SUFFIX}
    if sweep.promote:
        values["promote"] |= {"model": sweep.promote.model + SUFFIX}
    return Sweep.model_validate(values)


def names_layers(sweep: Sweep) -> bool:
    """Tell whether the sweep names modules of the base by path, which may name single layers."""
    targets = sweep.swept("adapter.targets", sweep.adapter.targets)
    return bool(sweep.adapter.trained_modules) or any(each.startswith(REGEX) for each in targets)


def _scored(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the objectives without those that only a GPU measures."""
    return [
        objective.model_dump()
        for objective in sweep.search.objectives
        if objective.metric not in MEASURES or not MEASURES[objective.metric].gpu
    ]


def _data(sweep: Sweep) -> dict[str, Any]:
    """Return few images; bad ones are to be listed, not to end the rehearsal."""
    split = sweep.data.split
    few: dict[str, Any] = {
        "limit": min(sweep.data.limit or IMAGES, IMAGES), "on_bad_sample": "skip",
    }  # fmt: skip
    if split is None:  # the data set's own division: `limit` keeps its proportions
        return few
    if not split.named:
        shares = {**SHARES, "test": SHARES["test"] if split.test else 0.0}
        return {**few, "split": shares}
    held_out = split.validation if isinstance(split.validation, str) else HELD_OUT
    return {**few, "split": {**split.model_dump(), "validation": held_out}}


def _evaluate(sweep: Sweep) -> dict[str, Any]:
    evaluate = sweep.evaluate
    return {
        "limit": min(evaluate.limit or SCORED, SCORED),
        "batch_size": min(evaluate.batch_size, BATCH),
        "max_new_tokens": min(evaluate.max_new_tokens, NEW_TOKENS),
        "final_limit": min(evaluate.final_limit or SCORED, SCORED),
        "from_rung": min(evaluate.from_rung, EPOCHS),
    }


def _rules(search: Search) -> dict[str, Any]:
    """Return the rules without those that name what a rehearsal changes."""
    changed = re.compile(r"model\.|data\.|evaluate\.|train\.(epochs|batch_size)$")
    kept = [rule for rule in search.all_rules if not any(map(changed.match, rule.fields))]
    return {
        "rules": [rule for rule in kept if isinstance(rule, Rule)],
        "forbidden": [rule for rule in kept if isinstance(rule, Forbidden)],
    }


def _space(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space with what would make a rehearsal long held at its least.

    A field on which others depend stays as it is: they would never be drawn.
    """
    fixed = {"train.epochs": EPOCHS, "train.batch_size": BATCH}
    parents = {parent for domain in space.values() for parent in domain.get("when", {})}
    return {
        path: _held(domain, fixed[path]) if path in fixed and path not in parents else domain
        for path, domain in space.items()
    }


def _held(domain: Mapping[str, Any], value: int) -> dict[str, Any]:
    when = {"when": domain["when"]} if "when" in domain else {}
    return {"choice": [value], **when}
