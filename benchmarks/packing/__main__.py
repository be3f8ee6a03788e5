"""The command line: measure in rounds, or print a series that was stored."""

import argparse
from pathlib import Path

from benchmarks.ladder import machine, results
from benchmarks.packing import report
from benchmarks.packing.case import Case
from benchmarks.packing.rounds import play
from workers.models.loading import resolve

FOLDER = Path(__file__).parent / "results"


def run(options: argparse.Namespace) -> None:
    """Measure all cases one after the other, the ways of each in turns, and print the table."""
    described, done = machine.description(), []
    stored = FOLDER / f"{options.name}.json"
    for quantization in options.quantization.split(","):
        for batch in options.batch:
            case = Case(
                model=options.base, folder=resolve(options.base), batch=batch, device="cpu",
                quantization=quantization, steps=options.steps, dropout=options.dropout,
            )  # fmt: skip
            for result in play(case, options.slots, options.rounds):
                done.append(result)
                results.write(stored, described, done)
    print(f"{report.tables(done, described)}\n\nstored in {stored}")


def show(options: argparse.Namespace) -> None:
    """Print the tables of stored series."""
    for name in options.names:
        described, done = results.read(FOLDER / f"{name}.json")
        print(f"## {name}\n\n{report.tables(done, described)}\n")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packing", description=__doc__)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help=run.__doc__)
    running.add_argument("--base", default="tiny:shapes", help="built-in base, or a folder")
    running.add_argument("--quantization", default="none,nf4")
    running.add_argument("--batch", type=_numbers, default=[1, 8], help="of an adapter in a step")
    running.add_argument("--slots", type=_numbers, default=[1, 2, 4, 8, 16], help="of a pack")
    running.add_argument("--rounds", type=int, default=21)
    running.add_argument("--steps", type=int, default=12, help="of each adapter in a round")
    running.add_argument("--dropout", type=float, default=0.05)
    running.add_argument("--name", default="last", help="of the file below results/")
    running.set_defaults(do=run)
    showing = commands.add_parser("show", help=show.__doc__)
    showing.add_argument("names", nargs="+", help="files below results/")
    showing.set_defaults(do=show)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
