"""Live control of a running sweep: the driver polls for requests and executes them."""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeps.board.handle import SweepHandle
from sweeps.driver import requests
from sweeps.driver.progress import Progress
from sweeps.driver.signals import interrupt
from sweeps.results import inbox
from sweeps.results.inbox import Answer, Kind, Request
from sweeps.spec import starts
from sweeps.spec.problems import SpecError
from sweeps.study.trials import TrialState, trial_states
from sweeps.trial import Start
from workers.redaction import redact

POLL_SECONDS = 1.0
_TAG_CHARACTERS = 500


Adds = Callable[[Mapping[str, Any], Start | None], None]
"""Takes a point, and the state to begin from, and makes it the next trial."""


class Controller:
    """Executes the requests to a running sweep.

    Args:
        say: prints a line for the person who watches the driver.
    """

    def __init__(
        self,
        handle: SweepHandle,
        adds: Adds,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self._sweep, self._folder, self._run = handle.sweep, handle.folder, handle.run
        self._adds, self._progress, self._say = adds, progress, say
        self._polled = float("-inf")
        self._kinds: Mapping[Kind, Callable[[Request], str]] = {
            "stop": self._stop,
            "stop-trial": self._stop_trial,
            "pause": self._pause,
            "continue": self._continue,
            "add": self._add,
        }

    def poll(self) -> None:
        """Execute the pending requests; once a second at most, and one listing of a folder."""
        now = time.monotonic()
        if now - self._polled < POLL_SECONDS:
            return
        self._polled = now
        for request in inbox.waiting(self._folder):
            answer = self._execute(request)
            inbox.answer(self._folder, request, answer)
            line = f"{request.name if isinstance(request, Path) else request}: {answer.said}"
            self._say(line)
            tag = request.stem if isinstance(request, Path) else request.id
            self._run.log(tags={f"control.{tag}": line[:_TAG_CHARACTERS]})
            if answer.done and isinstance(request, Request) and request.kind == "stop":
                interrupt()

    def _execute(self, request: Request | Path) -> Answer:
        """Execute one request; a file that is none comes as its path."""
        if isinstance(request, Path) or request.kind not in self._kinds:
            return Answer(done=False, said="this is no request")
        try:
            requests.check(request, self._sweep, self._folder, self._trials())
            return Answer(done=True, said=self._kinds[request.kind](request))
        except (SpecError, OSError) as error:
            return Answer(done=False, said=redact(str(error)))

    def _trials(self) -> dict[str, TrialState]:
        self._folder.refresh_trials()
        return trial_states(self._sweep, self._folder)

    def _stop(self, request: Request) -> str:
        return f"stops now; resume it with: sweeps resume {self._folder.sweep_id}"

    def _stop_trial(self, request: Request) -> str:
        self._folder.write(self._folder.stopping(str(request.trial)), "")
        return f"{request.trial} ends after the rung that it trains now"

    def _pause(self, request: Request) -> str:
        inbox.pause(self._folder)
        self._progress.paused = True
        return (
            "no further rung begins; those that train now end. "
            f"Continue it with: sweeps continue {self._folder.sweep_id}"
        )

    def _continue(self, request: Request) -> str:
        if not self._progress.paused:
            return "was not paused"
        inbox.unpause(self._folder)
        self._progress.paused = False
        return "continues"

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
        """Copy the state that the new trial starts from: its origin may remove it at any time."""
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
