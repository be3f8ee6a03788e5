"""The driver's side of live control: looks for requests and carries them out."""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeps.driver import requests
from sweeps.driver.progress import Progress
from sweeps.driver.supervise import interrupt
from sweeps.results import inbox
from sweeps.results.folder import SweepFolder
from sweeps.results.inbox import Answer, Kind, Request
from sweeps.spec import starts
from sweeps.spec.load import Sweep
from sweeps.spec.problems import SpecError
from sweeps.study.trials import TrialState, trial_states
from sweeps.tracking.sweep_run import SweepRun
from sweeps.trial import Start
from workers.redaction import redact

POLL_SECONDS = 1.0
_TAG_CHARACTERS = 500


Adds = Callable[[Mapping[str, Any], Start | None], None]
"""Takes a point, and the state to begin from, and makes it the next trial."""


class Controller:
    """Carries out what others ask of a running sweep.

    Args:
        say: prints a line for whoever watches the driver.
    """

    def __init__(
        self,
        sweep: Sweep,
        folder: SweepFolder,
        adds: Adds,
        progress: Progress,
        run: SweepRun,
        say: Callable[[str], None],
    ) -> None:
        self._sweep, self._folder, self._adds = sweep, folder, adds
        self._progress, self._run, self._say = progress, run, say
        self._looked = float("-inf")
        self._kinds: Mapping[Kind, Callable[[Request], str]] = {
            "stop": self._stop,
            "stop-trial": self._stop_trial,
            "pause": self._pause,
            "continue": self._continue,
            "add": self._add,
        }

    def poll(self) -> None:
        """Carry out what was asked since; once a second at most, and one listing of a folder."""
        now = time.monotonic()
        if now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        for asked in inbox.waiting(self._folder):
            self._settle(asked)

    def _settle(self, asked: Request | Path) -> None:
        answer = self._carried_out(asked)
        inbox.answer(self._folder, asked, answer)
        said = f"{asked.name if isinstance(asked, Path) else asked}: {answer.said}"
        self._say(said)
        tag = asked.stem if isinstance(asked, Path) else asked.id
        self._run.tag({f"control.{tag}": said[:_TAG_CHARACTERS]})
        if answer.done and isinstance(asked, Request) and asked.kind == "stop":
            interrupt()

    def _carried_out(self, asked: Request | Path) -> Answer:
        if isinstance(asked, Path) or asked.kind not in self._kinds:
            return Answer(done=False, said="this is no request")
        try:
            requests.check(asked, self._sweep, self._folder, self._trials())
            return Answer(done=True, said=self._kinds[asked.kind](asked))
        except (SpecError, OSError) as error:
            return Answer(done=False, said=redact(str(error)))

    def _trials(self) -> dict[str, TrialState]:
        self._folder.refresh_trials()
        return trial_states(self._sweep, self._folder)

    def _stop(self, request: Request) -> str:
        return f"stops now; go on with: sweeps resume {self._folder.sweep_id}"

    def _stop_trial(self, request: Request) -> str:
        self._folder.write(self._folder.stopping(str(request.trial)), "")
        return f"{request.trial} ends after the rung that it trains now"

    def _pause(self, request: Request) -> str:
        inbox.pause(self._folder)
        self._progress.paused = True
        return (
            "no further rung begins; those that train now end. "
            f"Go on with: sweeps continue {self._folder.sweep_id}"
        )

    def _continue(self, request: Request) -> str:
        if not self._progress.paused:
            return "was not paused"
        inbox.unpause(self._folder)
        self._progress.paused = False
        return "goes on"

    def _add(self, request: Request) -> str:
        trials = self._trials()
        point = starts.normalized(
            self._sweep.search.space, requests.full_point(request, self._sweep, trials)
        )
        start = None if request.rung is None else self._start(request, trials[str(request.trial)])
        self._adds(point, start)
        self._progress.wanted += 1
        return f"one more trial, {self._progress.wanted} in all; it is the next to start"

    def _start(self, request: Request, origin: TrialState) -> Start:
        """Copy the state that the new trial goes on from: its origin may drop it any time."""
        copy = self._folder.start(request.id)
        if request.rung:
            source, rung = self._folder.snapshot(origin.name, request.rung), request.rung
        else:
            source = self._folder.best_adapter(origin.name)
            rung = origin.adapter.rung if origin.adapter else 0
        self._folder.pull(source)
        shutil.copytree(source, copy)
        self._folder.push(copy)
        return Start(trial=origin.name, rung=rung, folder=copy.name)
