"""What a host makes of trials that break a limit of the search."""

import pytest

from sweeps.host.actor import HostActor
from sweeps.host.context import SweepContext
from sweeps.host.trial_record import TrialRecord
from sweeps.results import record
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import sweep_run

FILE = """
name: limited
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 2, batch_size: 8}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
search:
  space: {{adapter.rank: {{choice: [1, 64]}}}}
  objective: [{{metric: loss}}, {{metric: adapter_mb}}]
  constraints: {{{limits}}}
"""


@pytest.fixture
def opened(tracking, untrained_base):
    """Return a function: limits, rank -> the context and an actor with one trial open."""
    actors = []

    def make(limits, rank):
        sweep = parse(FILE.format(base=untrained_base, limits=limits))
        folder = SweepFolder.create(tracking.root, "limited")
        SweepRun.open(tracking, folder.sweep_id, "name: limited", {})
        context = SweepContext(sweep=sweep, folder=folder, threads=1)
        actors.append(HostActor(context, "host-0"))
        assert actors[-1].open(0, {"adapter.rank": rank}) is None
        return context, actors[-1]

    yield make
    for actor in actors:
        actor.shutdown()


def run_of(context):
    return sweep_run(context.folder).trials()[0]


def test_a_trial_whose_adapter_is_too_large_is_never_trained(opened):
    context, actor = opened('adapter_mb: "< 0.1"', 64)
    result = actor.advance(0)
    assert (result.rung, result.finished, result.infeasible) == (0, False, True)
    size = result.metrics["measured/adapter_mb"]
    assert result.violations == {"adapter_mb": pytest.approx(size - 0.1)}
    assert "train/loss" not in result.metrics
    assert run_of(context).data.tags["trial.violates"] == result.violates
    assert result.violates.endswith("must be < 0.1")
    actor.close(0)
    assert actor.open(0, {"adapter.rank": 64}) is None  # its record says that it is over
    assert record.read(context.folder, "trial-000")[-1].is_last


def test_one_that_keeps_its_limits_runs_on_and_says_all_objectives(opened):
    context, actor = opened('adapter_mb: "< 0.1"', 1)
    first, last = actor.advance(0), actor.advance(0)
    assert (first.rung, first.infeasible, last.finished) == (1, False, True)
    size = first.metrics["measured/adapter_mb"]
    assert first.objectives == (first.metrics["val/loss"], size)
    losses = [first.objective, last.objective]
    assert last.bests == (min(losses), size)
    assert last.violations["adapter_mb"] < 0
    assert "trial.violates" not in run_of(context).data.tags
    assert run_of(context).data.metrics["best/adapter_mb"] == size


def test_a_limit_that_a_later_rung_may_keep_ends_nobody(opened):
    context, actor = opened('seconds_per_epoch: "< 1e-9"', 1)
    first, last = actor.advance(0), actor.advance(0)
    assert first.violations["seconds_per_epoch"] > 0
    assert not first.infeasible
    assert last.finished
    assert run_of(context).data.tags["trial.violates"] == last.violates


def test_the_tag_goes_when_the_limit_is_kept(opened):
    context, actor = opened('adapter_mb: "< 0.1"', 1)
    violated = {"trial.violates": "latency_ms is 9, must be < 5"}
    TrialRecord(folder=context.folder, trial="trial-000").log(tags=violated)
    assert violated.items() <= run_of(context).data.tags.items()
    actor.advance(0)
    assert "trial.violates" not in run_of(context).data.tags
