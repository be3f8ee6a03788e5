"""A host puts all that it has to say on record, and never loads MLflow."""

import pickle
import subprocess
import sys

from sweeps.host.context import SweepContext
from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun

FILE = """
name: beside
model: {{base: {base}}}
data: {{source: shapes, limit: 24, split: {{train: 0.5, validation: 0.25, test: 0.25}}}}
train: {{epochs: 2, batch_size: 8, learning_rate: 1e-2}}
evaluate: {{metrics: [exact_match], max_new_tokens: 4}}
search:
  space: {{train.learning_rate: {{log_uniform: [1e-6, 1e2]}}}}
  objective: {{metric: loss}}
schedule: {{name: fifo}}
guard: {{stop: false}}
"""
HOST = """
import pickle, sys
from pathlib import Path
from sweeps.host.actor import HostActor

actor = HostActor(pickle.loads(Path(sys.argv[1]).read_bytes()), "host-0")
actor.warm_up()
actor.open(0, {"train.learning_rate": 1e-2})
while not actor.advance(0).finished:
    pass
actor.close(0)
actor.shutdown()
sys.exit("mlflow" in sys.modules)
"""


def test_a_trial_reaches_mlflow_by_the_driver_alone(untrained_base, tmp_path):
    folder = SweepFolder.create(tmp_path, "beside")
    tracking = Tracking(uri=None, experiment="beside", root=tmp_path)
    run = SweepRun.open(tracking, folder.sweep_id, "name: beside", {})
    sweep = parse(FILE.format(base=untrained_base))
    context = SweepContext(sweep=sweep, folder=folder, threads=1)
    (tmp_path / "context").write_bytes(pickle.dumps(context))
    command = [sys.executable, "-c", HOST, str(tmp_path / "context")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not run.trials()
    run.publisher.publish()
    (trial,) = run.trials()
    history = run.client.get_metric_history(trial.info.run_id, "val/loss")
    assert sorted(point.step for point in history) == [0, 1, 2]
    assert len(trial.inputs.dataset_inputs) == 2
    assert run.client.list_artifacts(trial.info.run_id, "eval")
    assert "eval.digest" in run.client.get_run(run.run_id).data.tags
