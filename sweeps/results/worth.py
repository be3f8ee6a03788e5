"""Which trials' adapters are worth most: the winner's, then the front's, then the others'."""

from collections.abc import Collection, Mapping, Sequence

from sweeps.pareto import costs, fronts
from sweeps.spec.sweep import Search


def by_worth(
    search: Search, bests: Mapping[str, Sequence[float]], violating: Collection[str]
) -> tuple[list[str], int]:
    """Return the trials, the winner first, and how many of the first ones must be kept.

    Of a single objective that is the winner; of several it is the front, from which a person
    chooses. Those that violate a limit come last.

    Args:
        search: has the objectives.
        bests: trial -> its objectives at its best rung.
        violating: trials that violate a limit.
    """
    modes = [objective.mode for objective in search.objectives]
    able = [name for name in bests if name not in violating]
    found = fronts(costs([bests[name] for name in able], modes)) if able else [[]]
    front = {able[place] for place in found[0]}
    leading = {name: costs([bests[name]], modes)[0, 0] for name in bests}

    def key(name: str) -> tuple[bool, bool, float, str]:
        off_front = len(modes) > 1 and name not in front
        return (name in violating, off_front, leading[name], name)

    ranked = sorted(bests, key=key)
    return ranked, len(front) if len(modes) > 1 else min(1, len(ranked))
