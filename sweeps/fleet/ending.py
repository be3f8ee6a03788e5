"""Ends the hosts of a sweep as soon as it is told to stop."""

import signal
import threading
from types import FrameType
from typing import Any

from ray import tune

from sweeps.fleet.hosts import HURRY_SECONDS, Hosts


class EndHosts(tune.Callback):
    """Stops the hosts beside Tune's own ending.

    Tune waits for the rungs in flight, which may take hours: it hears of their end once their
    hosts are gone. What they have not reported is trained again by whoever goes on.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    def setup(self, *args: Any, **info: Any) -> None:
        """Listen to Ctrl-C together with Tune, whose handler is in place by now."""
        if threading.current_thread() is not threading.main_thread():
            return  # whoever embeds the driver handles signals
        tunes = signal.getsignal(signal.SIGINT)

        def heed(number: int, frame: FrameType | None) -> None:
            if callable(tunes):
                tunes(number, frame)
            threading.Thread(target=self._hosts.stop, args=(HURRY_SECONDS,), daemon=True).start()

        signal.signal(signal.SIGINT, heed)
