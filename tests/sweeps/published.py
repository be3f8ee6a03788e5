"""A trial as hosts put it on record, and published at once: for tests of what MLflow has of it."""

import time
from dataclasses import dataclass
from functools import cached_property

from sweeps.host.trial_record import TrialRecord, objective_first
from sweeps.rung_result import RungResult
from sweeps.tracking.client import Tracking
from sweeps.tracking.sources import waiting
from sweeps.tracking.sweep_run import SweepRun
from sweeps.tracking.trial_run import best_metrics, with_log10


@dataclass(frozen=True)
class PublishedTrial:
    sweep: SweepRun
    record: TrialRecord

    @classmethod
    def open(cls, sweep, name, title, *, params=(), logarithmic=(), tags=(), segments=()):
        trial = cls(sweep, TrialRecord(folder=sweep.folder, trial=name))
        trial.record.opened(title, with_log10(dict(params), logarithmic), dict(tags), segments)
        trial.publish()
        return trial

    @property
    def client(self):
        return self.sweep.client

    @cached_property
    def run_id(self):
        (found,) = [run.info.run_id for run in self.sweep.trials()
                    if run.data.tags["trial.id"] == self.record.trial]  # fmt: skip
        return found

    def publish(self):
        return self.sweep.publisher.publish()

    def waits(self):
        """Return how many lines of its record wait."""
        return waiting(self.sweep.folder).entries.get(self.record.trial, 0)

    def refused(self):
        """Return why lines of its record were refused."""
        return list(waiting(self.sweep.folder).refused.get(self.record.trial, ()))

    def log(self, **logged):
        self.record.log(**logged)
        self.publish()

    def best(self, metrics, rung):
        self.log(best=best_metrics(metrics, rung))

    def scores(self, scores):
        self.record.keep_scores(scores)
        self.log(files=["eval/scores.json"])

    def images(self, samples, captions, step):
        self.record.log_examples(samples, captions, step)
        self.publish()

    def predictions(self, predictions, samples):
        self.record.log_predictions(predictions, samples)
        self.publish()

    def inputs(self, *given):
        self.record.log_data(*given)
        self.publish()

    def report(self, report, objective, best=None, violates=None):
        if report.rung == 0:
            self.record.log_baseline(report, objective)
        else:
            self.record.log_rung(result(report, objective, best, violates), best)
        self.publish()


def result(report, objective, best=None, violates=None):
    """Return a rung as hosts put it on record."""
    return RungResult(
        rung=report.rung,
        objective=report.metrics.get(f"val/{objective}"),
        best=best.value if best else None,
        bests=(best.value,) if best else (),
        finished=report.finished,
        violates=violates,
        metrics=objective_first(report.metrics, objective),
        seconds=report.seconds,
        symptoms=tuple(report.symptoms),
        time=time.time(),
    )


def sweep_run(folder):
    """Return the run of a sweep of a test of the host, brought up to its records."""
    tracking = Tracking(uri=None, experiment="acted", root=folder.root)
    run = SweepRun.find(tracking, folder.sweep_id)
    run.publisher.publish()
    return run
