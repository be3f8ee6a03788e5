"""Replays searches on the recorded table and says what each costs until it finds a good point.

python -m benchmarks.search                   # a table for one slot, and search.svg
python -m benchmarks.search --slots 4
python -m benchmarks.search --slow --seeds 50 # the Gaussian process too, minutes
"""

import argparse
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.arms import ARMS, BASELINE, DRAWN, SLOW, Arm
from benchmarks.costs import Costs, ratio, until
from benchmarks.curves import band, svg
from benchmarks.recorded import Table, read
from benchmarks.replay import replay

FIGURE = Path(__file__).with_suffix(".svg")
SHARE = 0.99
"""A point is good from this share of the table's best score on."""
HORIZON = 150
"""Epochs that the curves show."""
MOST = 3000
"""Epochs after which a search counts as ended."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the searches of one arm did, seed by seed."""

    costs: Costs
    histories: NDArray[np.float64]
    """(seeds, epochs): share of the table's best score that was found."""


def run(arm: Arm, table: Table, *, seeds: int, slots: int, share: float, least: int) -> Outcome:
    """Replay one arm with many seeds, each for at least `least` epochs."""
    costs, histories = [], []
    for seed in range(seeds):
        np.random.seed(seed)  # Tune's scheduler draws its bracket, of which there is one
        history = replay(arm.searcher(table, seed), arm.scheduler(table), table, slots)
        cost, seen = until(history, share * table.best, least, MOST)
        costs.append(cost)
        histories.append(seen)
    return Outcome(costs=np.array(costs, float), histories=np.array(histories) / table.best)


def line(name: str, arm: Arm, outcomes: Mapping[str, Outcome]) -> str:
    """Return an arm's row of the table in Markdown."""
    costs = outcomes[name].costs
    low, median, high = np.percentile(costs, (25, 50, 75))
    cells = [name, f"{median:.0f} ({low:.0f} to {high:.0f})", f"{costs.mean():.0f}"]
    for other in (BASELINE, arm.stock):
        compared = other is not None and other != name
        cells += [str(ratio(costs, outcomes[other].costs, np.mean)) if compared else ""]  # type: ignore[index]
    return f"| {' | '.join(cells)} |"


def figure(outcomes: Mapping[str, Outcome]) -> str:
    """Return the curves of the main arms."""
    bands = {name: band(outcomes[name].histories) for name in DRAWN}
    return svg(bands, SHARE, "best finished trial, share of the table's best")


def main() -> None:
    """Print the comparison of all arms and draw their curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--share", type=float, default=SHARE)
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    _quiet()
    table, arms = read(), {**ARMS, **(SLOW if options.slow else {})}
    print(describe(table, options.share))
    print("| search | epochs: median (quartiles) | mean | against random | against stock |")
    print("|---|---|---|---|---|")
    outcomes: dict[str, Outcome] = {}
    for name, arm in arms.items():
        outcomes[name] = run(
            arm, table, seeds=options.seeds, slots=options.slots, share=options.share,
            least=HORIZON if name in DRAWN else 1,
        )  # fmt: skip
        print(line(name, arm, outcomes), flush=True)
    if options.slots == 1 and options.share == SHARE:
        FIGURE.write_text(figure(outcomes))


def describe(table: Table, share: float) -> str:
    """Return how many points are good, and how well rungs foretell the end."""
    curves = np.array(list(table.curves.values()))
    final = curves.max(axis=1)
    good = int((final >= share * table.best).sum())
    lines = [f"{len(final)} points, best {table.best:.3f}, {good} reach {share:.0%} of it"]
    losses = -np.array([table.losses[key] for key in table.curves])
    top = final >= np.quantile(final, 0.75)
    for rung in range(table.epochs):
        told = [spearmanr(by[:, rung], final).statistic for by in (curves, losses)]
        told += [spearmanr(by[top, rung], final[top]).statistic for by in (curves, losses)]
        lines.append(
            f"rank correlation of epoch {rung + 1} with the end: score {told[0]:.2f}, loss "
            f"{told[1]:.2f}; among the best quarter {told[2]:.2f}, {told[3]:.2f}"
        )
    return "\n".join(lines) + "\n"


def _quiet() -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
