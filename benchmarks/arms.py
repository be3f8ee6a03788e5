"""The searches that are compared, by name: who proposes points, and who stops trials."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.foreseen import Foreseeing
from benchmarks.recorded import RATE, Table
from benchmarks.replay import Searcher
from benchmarks.searchers import Ours, RelativeRate, quick_start, stock
from sweeps import schedulers

MakeSearcher = Callable[[Table, int], Searcher]
NO_START = "search.start=[]"
RANDOM = "search.sampler.name=random"
FEW = "search.sampler.options.startup_trials=5"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to search."""

    searcher: MakeSearcher
    """Makes it from the table and a seed."""
    grace: int | None = 2
    """Epochs before ASHA may stop a trial, as in the quick start; None never stops one."""
    reduction: int = 3
    stock: str | None = "OptunaSearch + ASHA"
    """The arm of OptunaSearch with the same settings."""
    by_loss: bool = False
    """Whether ASHA compares the validation loss instead of the objective."""

    def scheduler(self, table: Table) -> Any:
        """Return the scheduler as the driver makes it."""
        made = schedulers.make(
            "fifo" if self.grace is None else "asha",
            modes=["max"],
            epochs=table.epochs,
            grace=self.grace or 1,
            reduction=self.reduction,
        )
        return _ByLoss(made) if self.by_loss else made


class _ByLoss:
    """Shows a scheduler the validation loss, negated, in place of the objective."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self.on_trial_add = scheduler.on_trial_add

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> Any:
        return self._scheduler.on_trial_result(controller, trial, _negated_loss(result))

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._scheduler.on_trial_complete(controller, trial, _negated_loss(result))


def _negated_loss(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "objective": -result["loss"]}


def own_values(table: Table, seed: int) -> dict[str, Any]:
    """Return the quick start's own values, with the middle of the range as learning rate.

    Its dropout of 0.05 and that middle lie between two levels of the table each, so seeds take
    the four rows around them in turns.
    """
    rates, middle = table.levels[RATE], len(table.levels[RATE]) // 2
    return {
        RATE: rates[middle - seed % 2],
        "adapter.rank": 16,
        "adapter.alpha": 32.0,
        "adapter.targets": "text_all",
        "adapter.dropout": table.levels["adapter.dropout"][seed // 2 % 2],
        "train.batch_size": 16,
    }


def _ours(*overrides: str) -> MakeSearcher:
    return lambda table, seed: Ours(quick_start(table, seed, [NO_START, *overrides]))


def _from_own_values(*overrides: str) -> MakeSearcher:
    def make(table: Table, seed: int) -> Searcher:
        own = [f"{field}={value}" for field, value in own_values(table, seed).items()]
        return Ours(quick_start(table, seed, [*own, *overrides]))

    return make


def _from_own_values_but_rate(table: Table, seed: int) -> Searcher:
    start = {field: value for field, value in own_values(table, seed).items() if field != RATE}
    return Ours(quick_start(table, seed, [f"search.start=[{start}]"]))


def _relative(*overrides: str) -> MakeSearcher:
    return lambda table, seed: RelativeRate(quick_start(table, seed, [NO_START, *overrides]))


def _stock(startup: int = 10) -> MakeSearcher:
    return lambda table, seed: stock(table, seed, startup)


def _stock_from_own_values(startup: int = 10) -> MakeSearcher:
    return lambda table, seed: stock(table, seed, startup, [own_values(table, seed)])


BASELINE = "random, no pruning"
STOCK = "OptunaSearch + ASHA"
STOCK_5_1 = "OptunaSearch + ASHA, startup 5, grace 1"

ARMS: Mapping[str, Arm] = {
    BASELINE: Arm(searcher=_ours(RANDOM), grace=None, stock=None),
    STOCK: Arm(searcher=_stock()),
    STOCK_5_1: Arm(searcher=_stock(5), grace=1),
    "random + ASHA": Arm(searcher=_ours(RANDOM)),
    "random + ASHA, grace 1": Arm(searcher=_ours(RANDOM), grace=1),
    "ours": Arm(searcher=_ours()),
    "ours, startup 5": Arm(searcher=_ours(FEW)),
    "ours, grace 1": Arm(searcher=_ours(), grace=1),
    "ours, startup 5, grace 1": Arm(searcher=_ours(FEW), grace=1, stock=STOCK_5_1),
    "... and reduction 2": Arm(searcher=_ours(FEW), grace=1, reduction=2, stock=STOCK_5_1),
    "... and reduction 4": Arm(searcher=_ours(FEW), grace=1, reduction=4, stock=STOCK_5_1),
    "... and loss decides": Arm(searcher=_ours(FEW), grace=1, by_loss=True, stock=STOCK_5_1),
    "... and rate times alpha": Arm(searcher=_relative(FEW), grace=1, stock=STOCK_5_1),
    "own values but the rate first": Arm(searcher=_from_own_values_but_rate),
    "own values first": Arm(searcher=_from_own_values()),
    "own values first, startup 5": Arm(searcher=_from_own_values(FEW)),
    "own values first, startup 5, grace 1": Arm(
        searcher=_from_own_values(FEW), grace=1, stock=STOCK_5_1
    ),
    "... and loss decides, own values first": Arm(
        searcher=_from_own_values(FEW), grace=1, by_loss=True, stock=STOCK_5_1
    ),
    "OptunaSearch + ASHA, own values first": Arm(searcher=_stock_from_own_values()),
}
SLOW: Mapping[str, Arm] = {
    "a model over rungs, startup 5, grace 1": Arm(
        searcher=lambda table, seed: Foreseeing(table.space(), seed),
        grace=1,
        stock=STOCK_5_1,
    ),
}
"""A Gaussian process takes tens of times as long to suggest a point."""
DRAWN = (BASELINE, "random + ASHA", STOCK, "ours",
         "own values first, startup 5")  # fmt: skip
"""Arms of the figure."""
