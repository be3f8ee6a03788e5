"""HyperBand (Li et al. 2018), Tune's own in the form whose trials wait for each other.

Tune has two. `HyperBandScheduler` halves a bracket as soon as the trials that it has so far have
done their rungs: where fewer trials run at a time than a bracket holds, it halves one or two of
them, so it stops none. `HyperBandForBOHB` pauses trials until their bracket is full. A paused trial
holds no slot, so any number of slots is enough.
"""

from collections.abc import Callable
from typing import Any

STOPS = True
PAUSES = True
CHANGES = False


def make(epochs: int, grace: int, reduction: int) -> Any:
    """Return HyperBand, the bracket with most trials first; the last one stops none.

    Brackets whose first halving would be before rung grace are left out.
    """
    from ray.tune.schedulers.hb_bohb import HyperBandForBOHB
    from ray.tune.schedulers.hyperband import _Bracket

    class Bracket(_Bracket):
        """Does not replace an ended trial by a new one, which would miss the halvings."""

        def filled(self) -> bool:
            return len(self._all_trials) >= self._n0

    class HyperBand(HyperBandForBOHB):
        """Leaves out brackets that would be halved within the grace."""

        def __init__(self) -> None:
            super().__init__(  # type: ignore[no-untyped-call]
                time_attr="rung", max_t=epochs, reduction_factor=reduction
            )
            first_rung: Callable[[int], int] = self._get_r0
            # Tune leaves out a bracket that begins at rung 0.
            self._get_r0 = lambda s: first_rung(s) if first_rung(s) >= grace else 0

        def _create_bracket(self, s: int) -> Bracket:
            trials, rung = self._get_n0(s), self._get_r0(s)  # type: ignore[no-untyped-call]
            # The last trial of a bracket ends with its own last epoch, which rounding may miss.
            return Bracket("rung", trials, rung, epochs, reduction, s, stop_last_trials=False)  # type: ignore[no-untyped-call]

    return HyperBand()
