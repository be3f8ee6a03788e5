"""(a) A packed training step must never make the host wait for the device."""

from collections import Counter

from benchmarks.gpu import cuda
from benchmarks.gpu.results import Results
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.trials import RANKS, examples, filled_pack, load, recipes, samples, small_recipe
from workers.packing.pack import Pack

WARM_UP = 3
STEPS = 32
"""Over these the losses are read once or twice, which may wait."""


def measure(setting: Setting, results: Results) -> None:
    """Count waits of steps in bfloat16, find their places, and take a step that may have none."""
    if setting.rehearsal:
        results.note("a CPU makes nobody wait: all counts are 0")
    base = load(setting, small_recipe(setting))
    rows, steps = setting.size(8, 2), setting.size(STEPS, 4)
    data = examples(base, samples(setting.size(64, 8), captions=setting.size(8, 10)))
    for slots, ranks in ((setting.size(16, 4), RANKS), (1, (16,))):
        own = recipes(setting, slots, ranks, train__batch_size=rows)
        pack = _warm(filled_pack(base, own, data))
        with cuda.seen_waits() as in_one:
            pack.step()
        with cuda.seen_waits() as in_all:
            for _ in range(steps):
                pack.step()
        results.row(
            "Waits of one training step",
            slots=slots,
            ranks=", ".join(map(str, ranks)),
            rows=rows,
            waits=len(in_one),
            **{
                f"mean of {steps} steps": len(in_all) / steps,
                'set_sync_debug_mode("error")': _refused(_warm(filled_pack(base, own, data))),
            },
        )
        for place, count in Counter(in_one).most_common(20):
            results.row("Their places", slots=slots, place=f"`{place}`", waits=count)


def _warm(pack: Pack) -> Pack:
    for _ in range(WARM_UP):
        pack.step()
    return pack


def _refused(pack: Pack) -> str:
    """Return how a step ends in which every wait is an error."""
    try:
        with cuda.refused_waits():
            trained = pack.step()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    failed = [str(each.error) for each in trained if each.error]
    return failed[0].splitlines()[0] if failed else "passes"
