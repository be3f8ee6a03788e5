"""A whole sweep on one host: four trials at a time against one after the other."""

import io
import itertools

import pytest
from rich.console import Console

from sweeps.board.handle import SweepHandle
from sweeps.cli import outcome
from sweeps.results import record
from sweeps.spec.load import parse

pytestmark = pytest.mark.slow

FILE = """
name: shared
model: {{base: {base}}}
data: {{source: shapes, limit: 32, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 4, batch_size: 4}}
adapter: {{dropout: 0.1}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4, final_beams: 1}}
guard: {{stop: false}}
search:
  space:
    adapter.rank: {{choice: [2, 4, 8]}}
    train.learning_rate: {{log_uniform: [1e-4, 1e-2]}}
  sampler: {{name: random, seed: 1}}
  objective: {{metric: loss}}
  trials: 6
schedule: {{name: fifo}}
resources: {{hosts: 1, slots: {slots}}}
"""
TRIALS = [f"trial-{number:03d}" for number in range(6)]
TIMES = ("seconds_per_epoch", "latency_ms")


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory, untrained_base):
    """Slots -> the sweep with so many."""
    import ray

    found = {}
    for slots in (1, 4):
        results = tmp_path_factory.mktemp(f"slots-{slots}")
        sweep = parse(FILE.format(base=untrained_base, slots=slots))
        printed = io.StringIO()
        assert outcome.run_sweep(sweep, results, None, Console(file=printed, width=200)) == 0
        found[slots] = SweepHandle.find(results, "shared-1")
    ray.shutdown()
    return found


def without_times(metrics):
    return {key: value for key, value in metrics.items() if key.rpartition("/")[2] not in TIMES}


def rungs(sweep, trial):
    return record.read(sweep.folder, trial)


def test_every_number_of_every_rung_is_the_same(sweeps):
    for trial in TRIALS:
        told = {
            slots: [without_times(rung.metrics) for rung in rungs(sweep, trial)]
            for slots, sweep in sweeps.items()
        }
        assert len(told[1]) == 4
        # In a pack sums are taken in another order.
        assert told[4] == [pytest.approx(own, rel=0.0, abs=1e-4) for own in told[1]]


def test_the_tables_show_the_same_trials_and_scores_in_the_same_order(sweeps):
    tables = [
        [(trial.title, trial.state, trial.rung) for trial in sweep.board.trials]
        for sweep in sweeps.values()
    ]
    assert len(tables[0]) == 6
    assert tables[0] == tables[1]


def test_trials_are_in_flight_together_with_several_slots_only(sweeps):
    def together(sweep):
        """Pairs of trials that both had a rung before either had its last."""
        times = [[rung.time for rung in rungs(sweep, trial)] for trial in TRIALS]
        return [
            pair for pair in itertools.combinations(times, 2)
            if max(one[0] for one in pair) < min(one[-1] for one in pair)
        ]  # fmt: skip

    assert not together(sweeps[1])
    assert together(sweeps[4])
