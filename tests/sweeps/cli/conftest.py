"""The command line as tests call it."""

import sys

import pytest

from sweeps.cli import app


@pytest.fixture
def sweeps(monkeypatch, capsys, tmp_path):
    """Return a function that calls the command in an empty folder: arguments -> exit code,
    output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sweeps", *arguments])
        with pytest.raises(SystemExit) as end:
            app.main()
        return end.value.code, *capsys.readouterr()

    return call
