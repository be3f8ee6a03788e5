"""The sweep: a sweep file as one frozen value."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    model_validator,
)

from search_spaces.domains import IntLogUniform, LogUniform
from search_spaces.forms import preset_of, read_space
from search_spaces.presets import lora
from search_spaces.rules import AnyRule, Forbidden, Rule, broken, read_forbidden, read_rules
from search_spaces.space import Space
from sweeps import names
from sweeps.spec import credentials
from sweeps.spec.constraints import Constraint, constraints_form, read_constraints
from sweeps.spec.objectives import Objective, objectives_form, read_objectives
from sweeps.spec.validation import value_at
from sweeps.trial import Point
from workers.measures import needs_captions, reported_as
from workers.metrics.catalog import outputs
from workers.recipe import Count, Recipe, Section, Threshold
from workers.redaction import has_secret

FEWEST = 5
"""Trials below which nothing is measured: at 4 the interval of a correlation is (-1, 1)."""


def _without_secret(address: str) -> str:
    """Refuse an address with a secret: the file is stored with every sweep, for all to read."""
    if has_secret(address):
        raise ValueError(f"an address without a secret: {credentials.INSTEAD}")
    return address


class Sampler(Section):
    """Proposes points."""

    name: str = "tpe"
    """Name of a sampler, see `sweeps.samplers`."""
    seed: Annotated[int, Field(ge=0)] | None = 0
    """Null draws differently each time."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its own options, such as ``startup_trials`` of tpe."""


class Budget(Section):
    """Limits of a sweep over all its drivers; null is without limit."""

    hours: Annotated[float, Field(gt=0.0)] | None = None
    """Wall time from the first trial on, without the time between a stop and a resume."""
    gpu_hours: Annotated[float, Field(gt=0.0)] | None = None
    """Seconds of all rungs times the GPUs that each of them holds."""

    @model_validator(mode="before")
    @classmethod
    def _trials_stand_elsewhere(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "trials" in values:
            raise ValueError("hours and gpu_hours; the number of trials is search.trials")
        return values


class Search(Section):
    """The search over the recipe's fields."""

    model_config = ConfigDict(arbitrary_types_allowed=True, serialize_by_alias=True)

    space: Annotated[Space, BeforeValidator(read_space), PlainSerializer(Space.form)] = Field(
        default_factory=lambda: lora().space
    )
    """Dotted recipe field -> domain, or the name of a preset, or a preset with changes."""
    rules: Annotated[
        tuple[InstanceOf[Rule], ...],
        BeforeValidator(read_rules),
        PlainSerializer(lambda rules: [str(rule) for rule in rules]),
    ] = ()
    """Conditions that every point keeps, such as ``adapter.alpha <= 4 * adapter.rank``."""
    forbidden: Annotated[
        tuple[InstanceOf[Forbidden], ...],
        BeforeValidator(read_forbidden),
        PlainSerializer(lambda forbidden: [combination.form() for combination in forbidden]),
    ] = ()
    """Values of fields that must not come together."""
    sampler: Sampler = Sampler()
    objectives: Annotated[
        tuple[Objective, ...], BeforeValidator(read_objectives), PlainSerializer(objectives_form)
    ] = Field(default=(Objective(),), alias="objective")
    """One or several; a file calls them ``objective``."""
    constraints: Annotated[
        tuple[Constraint, ...], BeforeValidator(read_constraints), PlainSerializer(constraints_form)
    ] = ()
    """Limits that a trial must keep to win."""
    trials: Count = 16
    budget: Budget = Budget()
    start: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] | None = None
    """Points that are tried first, of which fields may be left out; null is the recipe's own
    values if they lie in the space."""
    warm_start: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Earlier sweeps in the same folder of results, from whose trials the sampler learns."""
    storage: Annotated[str, Field(min_length=1)] | None = None
    """Where the study lies: a ``.log`` file or a database; null is beside the results."""

    @model_validator(mode="before")
    @classmethod
    def _rules_of_the_preset(cls, values: Any) -> Any:
        """Add the rules that the preset of the space brings."""
        preset = preset_of(values.get("space")) if isinstance(values, Mapping) else None
        written = [] if preset is None else values.get("rules", [])
        if preset is None or not isinstance(written, list):
            return values
        return {**values, "rules": [*written, *map(str, preset.rules)]}

    @property
    def all_rules(self) -> tuple[AnyRule, ...]:
        """The rules, and the forbidden combinations after them."""
        return (*self.rules, *self.forbidden)

    @property
    def objective(self) -> Objective:
        """The leading objective: it decides which rung counts and which trial is the best."""
        return self.objectives[0]

    @property
    def limited(self) -> tuple[str, ...]:
        """The quantities that have a limit."""
        return tuple(constraint.quantity for constraint in self.constraints)

    @property
    def quantities(self) -> tuple[str, ...]:
        """The objectives, the leading one first, and the limited quantities, each once."""
        names = (*(objective.metric for objective in self.objectives), *self.limited)
        return tuple(dict.fromkeys(names))


class Schedule(Section):
    """Which trials continue after a rung."""

    name: str = "asha"
    """Name of a scheduler, see `sweeps.schedulers`."""
    grace: Count = 1
    """Rungs (epochs) that every trial gets."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """At each halving one in this many trials continues."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its own options, such as ``samples`` of median."""
    unpruned: Annotated[int, Field(ge=0)] | None = None
    """First trials that no scheduler stops, to measure how well rungs predict final scores; null
    is one in 16 of ``search.trials``, at most 8, and none where that is too few to tell."""
    correlation: Threshold = 0.8
    """Rank correlation of a rung with the final scores below which rungs are not trusted."""


class Resources(Section):
    """Machines and devices that the sweep runs on."""

    hosts: Literal["auto"] | Count = "auto"
    """Processes that hold a base model; auto is one per GPU, or one per few cores, on every node
    of a cluster, also on those that join later."""
    packing: Literal["auto", "off"] = "auto"
    """Whether trials of one host train in one forward and backward where they can; off never."""
    slots: Literal["auto"] | Count = "auto"
    """Trials that a host holds at a time."""
    device: Literal["auto", "gpu"] = "auto"
    """What hosts train on; auto is GPUs where there are any, else the CPU. With gpu a sweep is
    refused where there is none."""
    gpus_per_host: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of a GPU that a host gets, and of its memory: 0.5 puts two hosts on each GPU."""


class Disk(Section):
    """Files of the trials that stay on disk."""

    keep: Count | None = 10
    """Adapters of so many of the best trials; those of the others go as the sweep runs. Null
    keeps all."""
    limit_gb: Annotated[float, Field(gt=0.0)] | None = None
    """Most that the sweep's folder may hold, in 1e9 bytes; null is no limit."""


class TrackingSection(Section):
    """Where the sweep is tracked."""

    uri: Annotated[str, Field(min_length=1), AfterValidator(_without_secret)] | None = None
    """Address of an MLflow server or store; null is the embedded store."""
    experiment: Annotated[str, AfterValidator(names.experiment)] = Field(
        description=names.EXPERIMENT
    )
    """The sweep's own name unless given."""


class Promote(Section):
    """Registered model of the best adapter, and the conditions of `sweeps.promotion.gate`."""

    model: Annotated[str, AfterValidator(names.model)] = Field(description=names.MODEL)
    auto: bool = False
    """Judge the winner when the sweep has ended; false leaves it to ``sweeps promote``."""
    margin: Annotated[float, Field(ge=0.0)] = 0.0
    """The gain in the objective must be above it, with `confidence`."""
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Confidence level of the intervals by which gains and losses are judged."""
    max_adapter_mb: Annotated[float, Field(gt=0.0)] | None = None
    """Most weights of the adapter, in 1e6 bytes; null is no limit."""
    max_latency_ms: Annotated[float, Field(gt=0.0)] | None = None
    """Most time of a caption on the test images; null is no limit."""
    max_slowdown: Annotated[float, Field(gt=0.0)] | None = None
    """The same as a multiple of the champion's; null is no limit."""
    approval: bool = False
    """A person must approve: the champion changes with ``--approve-by`` only."""


class Sweep(Recipe):
    """A recipe, and how to search for better values of its fields."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="a name for a folder: up to 100 letters, digits and . _ -, no . _ - in front",
    )
    search: Search = Search()
    schedule: Schedule = Schedule()
    resources: Resources = Resources()
    disk: Disk = Disk()
    storage: Annotated[str, Field(min_length=1)] | None = None
    """Where results live unless ``--results`` says so: a folder that all nodes see, or an object
    store; null is ``sweep-results``."""
    tracking: TrackingSection
    promote: Promote | None = None
    """Null registers nothing."""

    @model_validator(mode="before")
    @classmethod
    def _experiment_is_the_name(cls, values: Any) -> Any:
        """Name the experiment after the sweep unless the file does."""
        tracking = values.get("tracking", {}) if isinstance(values, Mapping) else None
        if not isinstance(tracking, Mapping):
            return values
        name = values.get("name")
        # Without a usable name the name is refused, and the experiment is not to blame.
        experiment = name if isinstance(name, str) and name else "unnamed"
        return {**values, "tracking": {"experiment": experiment, **tracking}}

    @property
    def recipe(self) -> Recipe:
        """The recipe, into which the sweep's points are put."""
        return self.with_point({})

    def fixed(self, fields: Iterable[str]) -> dict[str, Any]:
        """Return the values of those of the recipe's dotted `fields` that are not swept."""
        space = self.search.space
        return {path: value_at(self, path) for path in fields if path not in space}

    def refusal(self, point: Mapping[str, Any]) -> str | None:
        """Return the first rule that a point breaks, as text; None for an allowed point."""
        rules = self.search.all_rules
        first = broken(rules, point, self.fixed(path for rule in rules for path in rule.fields))
        return None if first is None else str(first)

    def logarithmic_fields(self) -> tuple[str, ...]:
        """Return the swept fields whose domain has a logarithmic scale."""
        space = self.search.space
        return tuple(path for path in space if isinstance(space[path], LogUniform | IntLogUniform))

    def swept(self, field: str, value: Any) -> tuple[Any, ...]:
        """Return all choices or both ends of a swept field, or only `value` for a fixed one."""
        domain = self.search.space.get(field)
        return (value,) if domain is None else tuple(domain.edges())

    @property
    def most_epochs(self) -> int:
        """Rungs of the longest trial."""
        return int(max(self.swept("train.epochs", self.train.epochs)))

    @property
    def first_judged_rung(self) -> int:
        """The first rung with all objectives: losses are there from the start, captions later."""
        late = any(needs_captions(objective.metric) for objective in self.search.objectives)
        return self.evaluate.from_rung if late else 1

    def outputs(self) -> tuple[str, ...]:
        """Return the names of all scores of a rung, such as ``bleu_4`` and ``cider``."""
        return outputs(self.evaluate.metrics)


def values_of(sweep: "Sweep", metrics: Mapping[str, float]) -> list[float]:
    """Return the values of a sweep's objectives from a report; NaN for those not reported."""
    names = [objective.metric for objective in sweep.search.objectives]
    return [metrics.get(reported_as(name), math.nan) for name in names]


def base_of(sweep: "Sweep", point: Point) -> str:
    """Return a name for the base that trials of one group share: a model as it is stored."""
    recipe = sweep.with_point(point)
    return f"{recipe.model.shared!r} {recipe.quantization}"
