"""The host actor's own class, called without Ray."""

import pytest

from sweeps.host.actor import HostActor
from sweeps.host.context import SweepContext
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import sweep_run

FILE = """
name: acted
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 6, batch_size: 8, learning_rate: 1e-2, patience: 2}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4{evaluate}}}
search:
  space: {{train.learning_rate: {{log_uniform: [1e-6, 1e2]}}}}
  objective: {{metric: {metric}}}
schedule: {{name: fifo}}
"""


@pytest.fixture(scope="session")
def tracking(tmp_path_factory):
    return Tracking(uri=None, experiment="acted", root=tmp_path_factory.mktemp("results"))


@pytest.fixture
def context(tracking, untrained_base, request):
    metric, evaluate = [*getattr(request, "param", "loss").split(", ", 1), ""][:2]
    text = FILE.format(base=untrained_base, metric=metric, evaluate=evaluate and f", {evaluate}")
    sweep = parse(text, overrides=["schedule.name=fifo"])
    folder = SweepFolder.create(tracking.root, "acted")
    SweepRun.open(tracking, folder.sweep_id, "name: acted", {})
    return SweepContext(sweep=sweep, folder=folder, threads=1)


@pytest.fixture
def actor(context):
    actor = HostActor(context, "host-0")
    yield actor
    actor.shutdown()


@pytest.fixture
def run_out(actor):
    """Return what advances a trial to its end, and returns the results of its rungs."""

    def results(number):
        found = [actor.advance(number)]
        while not (found[-1].finished or found[-1].failed):
            found.append(actor.advance(number))
        return found

    return results


@pytest.fixture
def runs(context):
    """Return what returns the runs of the sweep's trials, by trial, and a client."""

    def found():
        run = sweep_run(context.folder)
        return {trial.data.tags["trial.id"]: trial for trial in run.trials()}, run.client

    return found


@pytest.fixture
def run_of(runs):
    """Return what returns the run of a trial by its number."""
    return lambda number=0: runs()[0][f"trial-{number:03d}"]
