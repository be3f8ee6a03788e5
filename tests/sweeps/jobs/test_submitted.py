"""Logs as they come: in pieces, over connections that break. A stand-in gives the pieces."""

import io
import shlex
from dataclasses import dataclass

import pytest
from rich.console import Console

from sweeps.jobs import submitted
from sweeps.jobs.cluster import Job
from sweeps.jobs.submitted import duration, follow, print_ending, resume_command, show_log

METADATA = {"sweep": "shapes", "results": "/shared/results"}


@dataclass
class Connections:
    """Stands for a cluster: each call of `tail_job_logs` gives the next of `logs`, from the log's
    beginning, and breaks off at None."""

    logs: list
    address: str = "http://head:8265"
    calls: int = 0

    @property
    def client(self):
        return self

    async def tail_job_logs(self, job_id):
        pieces = self.logs[min(self.calls, len(self.logs) - 1)]
        self.calls += 1
        for piece in pieces:
            if piece is None:
                raise RuntimeError("gone")
            yield piece

    def job(self, job_id):
        return job(id=job_id, status="SUCCEEDED")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(submitted, "RETRY_SECONDS", 0.0)


def job(**changes):
    values = {"id": "shapes-a", "status": "RUNNING", "metadata": METADATA, "started": 0.0,
              "ended": None, "code": None}  # fmt: skip
    return Job(**{**values, **changes})


def followed(console, *logs):
    assert follow(Connections(list(logs)), job(), console) == 0
    return console.file.getvalue()


def lines_of(*logs):
    return followed(Console(file=io.StringIO(), width=20), *logs).splitlines()


def test_pieces_become_lines():
    assert lines_of(["one\ntw", "o\n", "\nlast"]) == ["one", "two", "", "last"]
    assert lines_of([]) == []


def test_a_connection_that_breaks_repeats_and_loses_no_line():
    broken = [["one\ntw", None], ["one\n", "two\nthree", None], ["one\ntwo\nthree\nfour\n"]]
    assert lines_of(*broken) == ["one", "two", "three", "four"]


def test_a_connection_that_stays_away_is_said_with_the_way_back(monkeypatch):
    monkeypatch.setattr(submitted, "MOST_RETRIES", 2)
    away = Connections([[None]])
    with pytest.raises(ConnectionError, match="sweeps logs shapes-a --follow --address http://he"):
        follow(away, job(), Console(file=io.StringIO()))
    assert away.calls == 3


LOG = (
    "shapes-1 in /shared/results/shapes-1",
    '{"sweep": "shapes-1", "objectives": [{"metric": "cider", "mode": "max"}], "wanted": 2, '
    '"epochs": 3, "paused": false}',
    '{"trial": "trial-001", "point": {"adapter.rank": 4}, "state": "running", "rung": 2, '
    '"objective": 0.5, "best": 0.5, "seconds": 60.0}',
)
LINES = (LOG[0], "trial-001 r4  rung 2/3 cider 0.5000  running")


def test_a_log_without_terminal_has_the_plain_lines_of_a_driver():
    console = Console(file=io.StringIO(), width=20)
    assert followed(console, ["\n".join(LOG)]) == "\n".join((*LINES, ""))


def test_a_log_so_far_has_them_too():
    class Ended(Connections):
        def log(self, job_id):
            return "".join(f"{line}\n" for line in self.logs)

    console = Console(file=io.StringIO(), width=20)
    assert show_log(Ended(list(LOG)), job(), console) == 0
    assert console.file.getvalue() == "\n".join((*LINES, ""))


def test_a_terminal_has_the_table_in_place_of_the_trials_lines():
    console = Console(file=io.StringIO(), width=100, force_terminal=True, highlight=False)
    out = followed(console, ["\n".join(LOG)])
    assert LINES[0] in out
    assert LINES[1] not in out
    assert "shapes-1: 0/2 trials, best cider 0.5000 (trial-001)" in out
    assert "2/3" in out


def test_the_way_back_is_one_command_whatever_the_job_is_called():
    hostile = "shapes'; touch $(id) `id`"
    said = interrupted(hostile).partition("reattach with: ")[2]
    assert shlex.split(said) == [
        "sweeps", "logs", hostile, "--follow", "--address", "http://head:8265"
    ]  # fmt: skip
    words = shlex.split(resume_command(job(metadata={"results": hostile}), hostile))
    assert words[-4:] == ["--results", hostile, "--address", hostile]


LOST = "last logs: /usr/bin/python: (ModuleNotFoundError: No module named 'sweeps')"


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ({"status": "SUCCEEDED", "code": 0}, 0, ""),
        ({"status": "FAILED", "code": 2, "message": "last logs: error: ..."}, 2, ""),
        ({"status": "FAILED", "message": "no worker"}, 1, "failed: no worker"),
        ({"status": "FAILED", "code": 127}, 127, "failed: it finds no `python` there; activate"),
        ({"status": "FAILED", "code": 1, "message": LOST}, 1, "failed: this package is not inst"),
        (
            {"status": "STOPPED"},
            130,
            "was stopped; resume with: sweeps submit FILE --resume --results /shared/results "
            "--address http://head:8265",
        ),
    ],
)
def test_the_jobs_end_is_the_commands(ending, code, said):
    console = Console(file=io.StringIO(), width=20)
    assert print_ending(job(**ending), "http://head:8265", console) == code
    written = console.file.getvalue()
    assert written.startswith(f"shapes-a {said}" if said else "")
    assert written.count("\n") == bool(said)


def interrupted(job_id):
    """Return what is printed when Ctrl-C ends the following of a job after a line."""

    class Away(Connections):
        async def tail_job_logs(self, job_id):
            yield "one\n"
            raise KeyboardInterrupt

    console = Console(file=io.StringIO(), width=20)
    assert follow(Away([]), job(id=job_id), console) == 130
    return console.file.getvalue()


def test_ctrl_c_leaves_the_sweep_alone_and_says_the_way_back():
    assert interrupted("shapes-a") == (
        "one\nthe sweep keeps running; reattach with: sweeps logs shapes-a --follow "
        "--address http://head:8265\n"
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(-1, "0 s"), (40.4, "40 s"), (60, "1 min"), (7500, "2 h 05 min")]
)
def test_times_are_short(seconds, said):
    assert duration(seconds) == said
