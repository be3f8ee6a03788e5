"""The command line: run rungs in turns, or print a series that was stored."""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import mps
from benchmarks.ladder import machine, prepare, report, results
from benchmarks.ladder.points import POINTS
from benchmarks.ladder.rungs import Rung, rungs
from sweeps.capacity.device import cards


def run(options: argparse.Namespace) -> None:
    """Run the rungs in turns, so that neighbours see the same machine, and print the tables."""
    found = rungs(len(cards()))
    chosen = {name: found[name] for name in _names(options.rungs, found)}
    described, done = machine.description(), []
    stored = results.FOLDER / f"{options.name}.json"
    with tempfile.TemporaryDirectory(prefix="ladder-") as folder:
        data = prepare.write_data(Path(folder) / "data")
        prepare.job(Path(folder), data, 1)  # builds the base if it is not cached
        for number in range(options.repeat):
            for name, rung in list(chosen.items()):
                try:
                    result = _measured(name, rung, data, options, number)
                except RuntimeError as error:
                    print(f"{name} is skipped: {error}", flush=True)
                    del chosen[name]
                    continue
                done.append(result)
                results.write(stored, described, done)
                print(
                    f"{name} round {number + 1}: {result['makespan']:.0f} s, CPU "
                    f"{result['cpu']:.0f} s, best CIDEr {max(result['cider']):.3f}",
                    flush=True,
                )
    if done:
        print(f"\n{report.tables(done, described)}\n\nstored in {stored}")


def show(options: argparse.Namespace) -> None:
    """Print the tables of stored series."""
    for name in options.names:
        described, done = results.read(results.FOLDER / f"{name}.json")
        print(f"## {name}\n\n{report.tables(done, described)}\n")


def _measured(name: str, rung: Rung, data: Path, options: argparse.Namespace, number: int) -> Any:
    """Run a rung; raises RuntimeError with the reason where it cannot run here."""
    if rung.mps and (reason := mps.unavailable()):
        raise RuntimeError(reason)
    if rung.settings.get("compiled") and not (shutil.which("c++") or shutil.which("g++")):
        raise RuntimeError("torch.compile needs a C++ compiler, and there is none on the PATH")
    return results.measure(name, rung, data, options.trials, number, options.asha)


def _names(wanted: str, found: dict[str, Rung]) -> list[str]:
    """Return the rungs of a list such as ``B0,B2,P``; B2 stands for all its numbers of processes.

    Raises SystemExit, naming those that there are.
    """
    names: list[str] = []
    for name in wanted.split(","):
        several = [one for one in found if one.startswith(f"{name}x")]
        if name not in found and not several:
            raise SystemExit(f"--rungs: {name!r} must be B2 or one of {', '.join(found)}")
        names += [name] if name in found else several
    return names


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help=run.__doc__)
    running.add_argument("--rungs", default="B0,B1,P", help="B0, B1, B2, B2x4, B3, P")
    running.add_argument("--repeat", type=int, default=3, help="rounds")
    running.add_argument(
        "--trials", type=int, default=len(POINTS), choices=range(1, len(POINTS) + 1),
        metavar=f"1..{len(POINTS)}",
    )  # fmt: skip
    running.add_argument("--asha", action="store_true", help="let ASHA stop trials, in all rungs")
    running.add_argument("--name", default="last", help="of the file below results/")
    running.set_defaults(do=run)
    showing = commands.add_parser("show", help=show.__doc__)
    showing.add_argument("names", nargs="+", help="files below results/")
    showing.set_defaults(do=show)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
