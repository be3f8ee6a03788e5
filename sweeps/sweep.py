"""The sweep: one frozen value that says everything a sweep file says."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    field_serializer,
    model_validator,
)

from search_spaces.domains import IntLogUniform, LogUniform
from search_spaces.forms import preset_of, read_space
from search_spaces.presets import lora
from search_spaces.rules import AnyRule, Forbidden, Rule, broken, read_forbidden, read_rules
from search_spaces.space import Space
from sweeps.fields import value_at
from workers.recipe import Count, Recipe, Section

LOSS = "loss"
"""The objective that needs no metric: validation loss, smaller is better."""


def _mode(metric: Any) -> Literal["max", "min"]:
    """Return which way an objective is better; for an unknown one, what most metrics say."""
    from workers.metrics.catalog import METRICS

    if metric == LOSS:
        return "min"
    return next((m.direction or "max" for m in METRICS.values() if metric in m.outputs), "max")


class Sampler(Section):
    """Proposes points."""

    name: str = "tpe"
    """Name of a sampler, see `sweeps.samplers`."""
    seed: Annotated[int, Field(ge=0)] | None = 0
    """Null draws differently each time."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What else the sampler takes, such as ``startup_trials`` of tpe."""


class Objective(Section):
    """What the sweep optimizes."""

    metric: str = "cider"
    """An output of one of ``evaluate.metrics``, or ``loss``."""
    mode: Literal["max", "min"] = Field(default_factory=lambda values: _mode(values.get("metric")))
    """The metric's own direction unless given."""


class Search(Section):
    """The search over the recipe's fields."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    space: Annotated[Space, BeforeValidator(read_space)] = Field(
        default_factory=lambda: lora().space
    )
    """Dotted recipe field -> domain, or the name of a preset, or a preset with changes."""
    rules: Annotated[tuple[InstanceOf[Rule], ...], BeforeValidator(read_rules)] = ()
    """What every point keeps, such as ``adapter.alpha <= 4 * adapter.rank``."""
    forbidden: Annotated[tuple[InstanceOf[Forbidden], ...], BeforeValidator(read_forbidden)] = ()
    """Values of fields that must not come together."""
    sampler: Sampler = Sampler()
    objective: Objective = Objective()
    trials: Count = 16
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
        if preset is None or not isinstance(values.get("rules", []), list):
            return values
        written = values.get("rules", [])
        return {**values, "rules": [*written, *(str(rule) for rule in preset.rules)]}

    @property
    def all_rules(self) -> tuple[AnyRule, ...]:
        """The rules, and the forbidden combinations after them."""
        return (*self.rules, *self.forbidden)

    @field_serializer("space")
    def _space_form(self, space: Space) -> dict[str, dict[str, Any]]:
        return space.form()

    @field_serializer("rules")
    def _rules_form(self, rules: tuple[Rule, ...]) -> list[str]:
        return [str(rule) for rule in rules]

    @field_serializer("forbidden")
    def _forbidden_form(self, forbidden: tuple[Forbidden, ...]) -> list[dict[str, Any]]:
        return [combination.form() for combination in forbidden]


class Schedule(Section):
    """Which trials go on after a rung."""

    name: str = "asha"
    """Name of a scheduler, see `sweeps.schedulers`."""
    grace: Count = 1
    """Rungs (epochs) that every trial gets."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """At each halving one in this many trials goes on."""


class Resources(Section):
    """What the sweep runs on."""

    hosts: Literal["auto"] | Count = "auto"
    """Processes that hold a base model; auto is one per GPU, or one per few cores."""
    slots: Literal["auto"] | Count = "auto"
    """Trials that a host holds at a time."""


class Tracked(Section):
    """Where the sweep is tracked."""

    uri: Annotated[str, Field(min_length=1)] | None = None
    """Address of an MLflow server or store; null is the embedded store."""
    experiment: str = Field(min_length=1)
    """The sweep's own name unless given."""


class Promote(Section):
    """What becomes of the best adapter."""

    model: str = Field(
        pattern=r"^[^/:]*[^/:\s][^/:]*$",
        description="the name of a registered model, without / and :",
    )


class Sweep(Recipe):
    """A sweep file: a recipe, and how to search for better values of its fields."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="a name for a folder: up to 100 letters, digits and . _ -, no . _ - in front",
    )
    search: Search = Search()
    schedule: Schedule = Schedule()
    resources: Resources = Resources()
    tracking: Tracked
    promote: Promote | None = None
    """Null registers nothing."""

    @model_validator(mode="before")
    @classmethod
    def _experiment_is_the_name(cls, values: Any) -> Any:
        """Name the experiment after the sweep unless the file does."""
        if not isinstance(values, Mapping):
            return values
        name, tracking = values.get("name"), values.get("tracking", {})
        if not isinstance(tracking, Mapping):
            return values
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
        kinds = (LogUniform, IntLogUniform)
        return tuple(
            path for path, domain in self.search.space.items() if isinstance(domain, kinds)
        )

    def swept(self, field: str, value: Any) -> tuple[Any, ...]:
        """Return all choices or both ends of a swept field, or only `value` for a fixed one."""
        domain = self.search.space.get(field)
        return (value,) if domain is None else tuple(domain.edges())

    @property
    def most_epochs(self) -> int:
        """Rungs of the longest trial."""
        return int(max(self.swept("train.epochs", self.train.epochs)))

    def outputs(self) -> tuple[str, ...]:
        """Return the names of all scores of a rung, such as ``bleu_4`` and ``cider``."""
        from workers.metrics.catalog import outputs

        return outputs(self.evaluate.metrics)
