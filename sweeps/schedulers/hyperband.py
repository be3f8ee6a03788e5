"""HyperBand (Li et al. 2018), Tune's own in the form in which trials wait for each other.

Tune has two. `HyperBandScheduler` halves a bracket as soon as the trials that it has so far did
their rungs: where fewer trials run at a time than a bracket holds, it halves one or two of them,
so it stops nobody. `HyperBandForBOHB` pauses trials until their bracket is full. A paused trial
holds no slot, so any number of slots will do.
"""

from collections.abc import Callable
from typing import Any

STOPS = True
PAUSES = True
CHANGES = False


def make(epochs: int, grace: int, reduction: int) -> Any:
    """Return HyperBand, the bracket with most trials first; the last one stops nobody.

    Brackets whose first halving would be before rung grace are left out.
    """
    from ray.tune.schedulers.hb_bohb import HyperBandForBOHB
    from ray.tune.schedulers.hyperband import _Bracket

    class Bracket(_Bracket):
        """Takes no new trial in the place of one that is over: it would miss the halvings."""

        def filled(self) -> bool:
            return len(self._all_trials) >= self._n0

    class HyperBand(HyperBandForBOHB):
        """Leaves out what would be halved within the grace."""

        def __init__(self) -> None:
            super().__init__(  # type: ignore[no-untyped-call]
                time_attr="rung", max_t=epochs, reduction_factor=reduction
            )
            first_rung: Callable[[int], int] = self._get_r0
            # Tune leaves out a bracket that begins at rung 0.
            self._get_r0 = lambda s: first_rung(s) if first_rung(s) >= grace else 0

        def _create_bracket(self, s: int) -> Bracket:
            trials, rung = self._get_n0(s), self._get_r0(s)  # type: ignore[no-untyped-call]
            return Bracket(  # type: ignore[no-untyped-call]
                time_attr="rung", max_trials=trials, init_t_attr=rung, max_t_attr=epochs,
                eta=reduction, s=s,
                # The last of a bracket ends with its own last epoch, which rounding may miss.
                stop_last_trials=False,
            )  # fmt: skip

    return HyperBand()
