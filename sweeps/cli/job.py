"""The driver of a submitted sweep, on the cluster: ``python -m sweeps.cli.job``.

It runs in the folder into which Ray unpacked the parcel. All jobs of equal contents share that
folder and Ray removes it later, so nothing is written there: what the sweep reads moves to the
results first, under the digest of its contents. There every node finds it, and so does a later
`--resume`; it goes when no sweep of the results names it any more. Then the sweep runs as
``sweeps run`` runs it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeps.driver import events
from sweeps.jobs.parcel import INPUTS, SPEC, prune_inputs, refuse_absent, store_inputs
from sweeps.spec.load import load
from sweeps.spec.problems import RefusedError, refused, report_refusal
from sweeps.storage import places
from sweeps.version import installed_version, refuse_other


def main(arguments: Sequence[str]) -> None:
    """Run the sweep of the parcel in this folder; exits as ``sweeps run`` does."""
    options = parse(arguments)
    unblock_interrupts()
    spec = Path(SPEC).absolute()
    results = places.working(options.results, places.DRIVER)
    try:
        with refused():
            refuse_other(options.sender, installed_version())
            refuse_absent(load(spec))
            os.chdir(store_inputs(Path(INPUTS).absolute(), results, options.inputs))
            prune_inputs(results)
    except RefusedError as error:
        sys.exit(report_refusal(error))
    os.environ[events.VARIABLE] = events.JSON
    from sweeps.cli import app

    choice = [f"--{options.go_on}"] if options.go_on else []
    sys.argv = ["sweeps", "run", str(spec), "--results", options.results, *choice]
    app.main()


def unblock_interrupts() -> None:
    """Let SIGINT through, which Ray blocks: a sweep stops by it, also on SIGTERM or a request."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m sweeps.cli.job", description=__doc__)
    parser.add_argument("--results", required=True, help="folder that all nodes see")
    parser.add_argument("--inputs", required=True, help="digest of the files that came along")
    parser.add_argument("--sender", default="", help="version of this package where it came from")
    parser.add_argument("--resume", dest="go_on", action="store_const", const="resume")
    parser.add_argument("--fresh", dest="go_on", action="store_const", const="fresh")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
