"""docs/security.md: every row names the tests that hold it, and these exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [
    line for line in PAGE.splitlines() if line.startswith("| ") and not line.endswith("| held by |")
]
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_row_names_a_test():
    assert len(ROWS) >= 20
    assert [row for row in ROWS if not TEST.search(row.rstrip("| ").rpartition("|")[2])] == []


@pytest.mark.parametrize(("file", "test"), sorted(set(TEST.findall(PAGE))))
def test_a_test_that_is_named_exists(file, test):
    assert f"def {test or 'test_'}" in (ROOT / file).read_text(encoding="utf-8")
