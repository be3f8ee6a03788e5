"""The Ray actor around a host: trains, tracks, keeps snapshots and the best adapter.

Heavy packages are imported inside the actor's process only.
"""

import math
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import access, best, disk, record, schedulers, scores_file
from sweeps.best import Best
from sweeps.context import (
    EXAMPLE_IMAGES,
    FAILED,
    FULL,
    VIOLATES,
    Point,
    Start,
    SweepContext,
    trial_id,
)
from sweeps.inputs import eval_tags
from sweeps.open_trial import OpenTrial, failure, reported
from sweeps.pages import keepsakes
from sweeps.population.opening import opened, refuse_lost
from sweeps.quiet import quiet_libraries
from sweeps.scores_file import Captions, Scores
from sweeps.spool.entries import batch
from sweeps.spool.line import AwayError, line_to
from sweeps.spool.outbox import of_sweep
from sweeps.storage import copies
from workers.report import Prediction, Report

if TYPE_CHECKING:
    from workers.checkpoint_files import CheckpointFiles
    from workers.data.sample import Sample
    from workers.evaluation import MakeScorer


class HostActor:
    """One `workers.host.Host` of one sweep; becomes an actor by `ray.remote`."""

    def __init__(
        self, context: SweepContext, name: str, make_scorer: "MakeScorer | None" = None
    ) -> None:
        """Take what makes scorers, if not each host is to have its own."""
        quiet_libraries()
        from workers import memory
        from workers.host import Host

        self._context = context = context.private(name)
        self._name = name
        shared: dict[str, Any] = {"make_scorer": make_scorer} if make_scorer else {}
        self._share = context.sweep.resources.gpus_per_host
        memory.limit(self._share)
        self._host = Host(threads=context.threads, **shared)
        self._trials: dict[str, OpenTrial] = {}
        self._waits = schedulers.module(context.sweep.schedule.name).PAUSES
        """Whether a slot that is closed may be opened again."""

    def node(self) -> str:
        """Return the id of Ray's node that this host runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def gpu_bytes(self) -> float:
        """Return the bytes of its GPU that this host may use, by the share that Ray gave it."""
        import torch

        if not torch.cuda.is_available():  # the node says that it has a GPU which torch cannot use
            return 0.0
        return float(torch.cuda.get_device_properties(0).total_memory) * self._share

    def files(self) -> "CheckpointFiles | None":
        """Return what the base's files on this node tell of its size."""
        from workers import checkpoint_files

        model = self._context.sweep.model
        return checkpoint_files.find(model.base, model.revision)

    def warm_up(self) -> list[str]:
        """Load data and base and score zero-shot once, so that the first trial need not wait.

        Returns lines for the user: how many images there are, and what was skipped.
        """
        recipe = self._context.sweep.recipe
        data_set = self._host.data_set(recipe)
        scored = self._host.scored_samples(recipe)
        self._greet()
        tags = eval_tags(scored)
        of_sweep(self._context.tracking, self._context.parent_run_id).put(batch(tags=tags))
        untrained = self._host.admit("warm-up", recipe).predictions
        self._host.evict("warm-up")
        keepsakes.keep(self._context.folder.keepsakes, scored, untrained)
        counts = ", ".join(f"{len(part)} {split}" for split, part in data_set.splits.items())
        return [f"images: {counts}", *(f"skipped: {problem}" for problem in data_set.problems)]

    def _greet(self) -> None:
        """Raise PermissionError, naming this node, when MLflow does not let this host in.

        An MLflow that is away stops nothing: what is reported waits in the outbox.
        """
        tracking, run_id = self._context.tracking, self._context.parent_run_id
        with (
            suppress(AwayError),
            access.explained(f"{tracking.address}, from {platform.node()},"),
        ):
            line_to(tracking).attempt(lambda client: client.get_run(run_id))

    def open(
        self, number: int, point: Point, start: Start | None = None, opening: str = ""
    ) -> dict[str, Any] | None:
        """Give a trial a slot, which goes on after the rungs on record, else from `start`.

        `opening` is what `close` must say: who gave a waiting trial up may be slower to close its
        slot than the next one is to open it. Returns None, or the result of a trial that cannot
        go on.
        """
        name = trial_id(number)
        if name in self._trials:
            self._shut(name)

        def work() -> None:
            self._take_over(name, opening)
            self._open(name, number, point, start)
            self._trials[name].opening = opening

        return self._guarded(name, work)

    def advance(self, number: int) -> dict[str, Any]:
        """Train a trial for one rung and return Tune's result."""
        name = trial_id(number)
        result: dict[str, Any] = {}
        return self._guarded(name, lambda: result.update(self._advance(name))) or result

    def close(self, number: int, opening: str = "") -> None:
        """Take a trial's slot away and write its best captions; its snapshots stay.

        A slot that was opened with another word is left alone.
        """
        name = trial_id(number)
        if name in self._trials and self._trials[name].opening == opening:
            self._shut(name)

    def shutdown(self) -> None:
        """Write the best captions of the trials that nobody closed; release bases and scorers."""
        for name in list(self._trials):
            self._shut(name)
        self._host.close()
        copies.forget(self._context.folder.root)

    def _shut(self, name: str) -> None:
        trial = self._trials.pop(name)
        self._host.evict(name)
        if not self._is_given_up(name, trial):
            self._guarded(name, lambda: self._log_predictions(trial))
        copies.forget(self._context.folder.trial(name))

    def _open(self, name: str, number: int, point: Point, start: Start | None) -> None:
        trial = opened(self._context, self._name, number, point, start)
        past = record.usable(self._context.folder, name)
        refuse_lost(trial, past)
        if past:
            self._go_on(name, trial, past)
        else:
            self._begin(name, trial)
            if start:
                self._begin_from(name, trial, start)
        self._trials[name] = trial

    def _take_over(self, name: str, opening: str) -> None:
        """Let no other host report this trial any more."""
        word = self._context.folder.opening(name)
        word.parent.mkdir(parents=True, exist_ok=True)
        word.write_text(opening)
        copies.push(word)

    def _is_given_up(self, name: str, trial: OpenTrial) -> bool:
        """Tell whether the trial has gone on elsewhere while this host was away.

        A node that only its network cut off goes on training a trial that others have by now.
        """
        copies.pull(self._context.folder.opening(name))
        return self._context.folder.opening(name).read_text() != trial.opening

    def _begin(self, name: str, trial: OpenTrial) -> None:
        baseline = trial.untrained = self._host.admit(name, trial.recipe)
        scored = self._host.scored_samples(trial.recipe)
        trial.run.inputs(trial.recipe.data, self._host.data_set(trial.recipe), scored)
        trial.run.report(baseline, self._context.sweep.search.objective.metric)
        self._log_examples(trial, baseline.predictions, step=0)

    def _begin_from(self, name: str, trial: OpenTrial, start: Start) -> None:
        """Put the state of another trial in place of the fresh one."""
        self._host.evict(name)
        folder = self._context.folder.start(start.folder)
        copies.pull(folder)
        if best.read(folder):  # an adapter; otherwise a whole snapshot
            self._host.graft(name, trial.recipe, folder, start.rung)
        else:
            self._host.restore(name, trial.recipe, folder)

    def _go_on(self, name: str, trial: OpenTrial, past: list[dict[str, Any]]) -> None:
        """Take the trial up after its last rung on record; MLflow hears what it has missed."""
        copies.pull(self._context.folder.best_adapter(name))
        trial.best = best.read(self._context.folder.best_adapter(name))
        trial.predictions = best.read_predictions(self._context.folder.best_adapter(name))
        trial.scores = trial.run.kept_scores()
        if trial.best:
            trial.run.best(trial.best.metrics, trial.best.rung)
        for result in past:
            trial.track(reported(result), self._context.sweep.search.objective.metric)
        for former in trial.segments[:-1]:
            former.run.end("stopped")
        last = past[-1]
        self._mark(trial, last.get(VIOLATES))
        if not record.is_over(last):
            snapshot = self._context.folder.snapshot(name, last["rung"])
            copies.pull(snapshot)
            self._host.restore(name, trial.recipe, snapshot)

    def _advance(self, name: str) -> dict[str, Any]:
        trial = self._trials[name]
        untrained, trial.untrained = trial.untrained, None
        if untrained and trial.judgement(self._context.sweep, untrained).for_good:
            return self._tell(name, trial, untrained)
        report = self._host.advance(name)
        if self._is_given_up(name, trial):
            raise RuntimeError(f"{name} goes on on another host")
        value = report.metrics.get(self._context.objective, math.nan)
        may_be = trial.is_judged(report) and trial.may_be_best(report)
        if may_be and self._is_best(trial, report.rung, value):
            self._keep_best(name, trial, value, report)
        report = trial.judged(report)
        if report.finished and not report.collapsed:
            report = self._with_final_scores(name, trial, report)
        elif not report.collapsed:
            self._snapshot(name, report.rung)
        return self._tell(name, trial, report)

    def _tell(self, name: str, trial: OpenTrial, report: Report) -> dict[str, Any]:
        """Put a rung on record, then into MLflow, and return it as Tune's result."""
        report = replace(report, metrics={**report.metrics, **trial.moving})
        judgement = trial.judgement(self._context.sweep, report)
        result = trial.result(self._context.sweep, report, judgement)
        # On record before anybody hears of it: what is heard is never trained again.
        record.append(self._context.folder, name, result)
        trial.is_over = record.is_over(result)
        trial.track(report, self._context.sweep.search.objective.metric)
        self._mark(trial, judgement.violates)
        return result

    def _mark(self, trial: OpenTrial, violated: str | None) -> None:
        if self._context.sweep.search.constraints:  # else there is no tag to write or to take away
            trial.run.violates(violated)

    def _is_best(self, trial: OpenTrial, rung: int, value: float) -> bool:
        """Say whether a rung is the trial's best; one that was cut off by a crash is so again."""
        if trial.best is None or trial.best.rung == rung:
            return self._context.better(value, None)
        return self._context.better(value, trial.best.value)

    def _keep_best(self, name: str, trial: OpenTrial, value: float, report: Report) -> None:
        trial.best = Best(value=value, rung=report.rung, metrics=dict(report.metrics))
        trial.predictions = report.predictions
        best.keep(
            self._context.folder.best_adapter(name),
            trial.best,
            report,
            lambda folder: self._host.export(name, folder),
        )
        if report.scored is None:  # the best by its loss, of a rung without captions
            return
        scored = _captions(report, trial.recipe.evaluate.beams)
        trial.scores = Scores(references=scores_file.digest(report.predictions), best=scored)
        trial.run.scores(trial.scores)

    def _with_final_scores(self, name: str, trial: OpenTrial, report: Report) -> Report:
        folder = self._context.folder.best_adapter(name)
        if not folder.exists():  # every score was NaN
            return report
        final = self._host.score(name, folder)
        trial.predictions = final.predictions
        evaluate = trial.recipe.evaluate
        images = self._host.final_samples(trial.recipe)
        if len(images) != len(self._host.scored_samples(trial.recipe)):
            trial.run.final_images(images)
        elif trial.scores and evaluate.final_beams != evaluate.beams:
            scored = _captions(final, evaluate.final_beams)
            trial.scores = replace(trial.scores, final=scored)
            trial.run.scores(trial.scores)
        return replace(
            report,
            metrics={**report.metrics, **final.metrics},
            seconds=report.seconds + final.seconds,
        )

    def _snapshot(self, name: str, rung: int) -> None:
        self._host.snapshot(name, self._context.folder.snapshot(name, rung))
        copies.push(self._context.folder.snapshot(name, rung))
        for old in self._snapshots(name)[: -disk.KEPT_SNAPSHOTS]:
            copies.drop(old)

    def _snapshots(self, name: str) -> list[Path]:
        return sorted(self._context.folder.trial(name).glob("rung-*"))

    def _log_predictions(self, trial: OpenTrial) -> None:
        if trial.predictions:
            trial.run.predictions(trial.predictions, self._samples(trial))
        # Examples are stored once: those of a trial that only waits would stay for ever.
        if trial.predictions and (trial.is_over or not self._waits):
            self._log_examples(trial, trial.predictions, step=trial.recipe.train.epochs)

    def _log_examples(
        self, trial: OpenTrial, predictions: tuple[Prediction, ...], step: int
    ) -> None:
        captions = {prediction.image_id: prediction.caption for prediction in predictions}
        samples = [
            sample
            for sample in self._host.scored_samples(trial.recipe)[:EXAMPLE_IMAGES]
            if sample.id in captions
        ]
        trial.run.images(samples, [captions[sample.id] for sample in samples], step)

    def _samples(self, trial: OpenTrial) -> "list[Sample]":
        """Return the images of the trial's captions: those of a rung, or of the last scoring."""
        validation = self._host.data_set(trial.recipe).splits["validation"]
        by_id = {sample.id: sample for sample in validation}
        return [by_id[prediction.image_id] for prediction in trial.predictions]

    def _guarded(self, name: str, work: Callable[[], None]) -> dict[str, Any] | None:
        """Run `work`; return None, or the result of a trial that cannot go on.

        An error raised by the trial's own code would be raised again by a retry, so it ends
        the trial. Tune retries what never gets here: the death of this process.
        """
        try:
            work()
        except Exception as error:
            self._host.evict(name)
            self._trials.pop(name, None)
            stopped = disk.stops(error, self._context.folder)
            if stopped:
                return {FULL: stopped, FAILED: None, "finished": False}
            return failure(error)
        return None


def _captions(report: Report, beams: int) -> Captions:
    assert report.scored, "a host scores the captions that it reports"
    return Captions(beams=beams, scored=report.scored)
