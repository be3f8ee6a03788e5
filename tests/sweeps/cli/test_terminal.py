"""What commands write: names, captions and lines of other machines are shown and never obeyed."""

import re

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.cli.arguments import console
from sweeps.spec.problems import complain

LINK, CLEAR, TITLE = "\x1b]8;;http://evil\x1b\\", "\x1b[2J\x1b[H", "\x1b]0;title\x1b\\"
HOSTILE = f"{LINK}a{CLEAR} [bold]dog[/] {TITLE}[/foo] :warning: \x9b31m\x1b\u202eend"
SHOWN = "a [bold]dog[/] [/foo] :warning: end"
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r")
"""Styles, the cursor, and moves up a line: what rich itself needs for a table that is redrawn."""


@pytest.fixture(params=["file", "terminal"])
def out(request, monkeypatch, capsys):
    """Return a function that returns what was written, to a file or to a terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if request.param == "terminal":
        monkeypatch.setenv("FORCE_COLOR", "1")
    return lambda: capsys.readouterr().out


def hostile_table():
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE, style="bold")
    table.add_row(Text(HOSTILE, style="red"))
    return table


def live():
    with Live(hostile_table(), console=console(), transient=True) as shown:
        console().print(HOSTILE)
        shown.update(hostile_table())


@pytest.mark.parametrize(
    "write",
    [
        lambda: console().print(HOSTILE),
        lambda: console().print(HOSTILE, style="red", soft_wrap=True),
        lambda: console().print(Text(HOSTILE, style="bold")),
        lambda: console().print(hostile_table()),
        live,
    ],
)
def test_a_hostile_text_is_only_shown(out, write):
    write()
    written = OWN.sub("", out())
    assert SHOWN in written
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", written)
    assert "evil" not in written
    assert "title" not in written


def test_a_table_of_ordinary_texts_is_as_wide_as_they_are(out):
    table = Table()
    table.add_column("caption")
    table.add_row("ein Fußgänger 犬")
    console().print(table)
    lines = OWN.sub("", out()).splitlines()
    assert lines[0] == "┏━━━━━━━━━━━━━━━━━━┓"
    assert lines[3] == "│ ein Fußgänger 犬 │"


def test_an_error_is_only_shown(capsys):
    complain(f"error: no model {HOSTILE}")
    assert capsys.readouterr() == ("", f"error: no model {SHOWN}\n")
