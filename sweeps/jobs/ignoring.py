"""Which files of a working folder stay at home: rules in the form of .gitignore.

The rules of ``.sweepsignore`` come after those of ``.gitignore``, so that ``!data/`` in the
former sends what git leaves alone. Both are read from the working folder itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

GITIGNORE, OWN = ".gitignore", ".sweepsignore"
_ALWAYS = (
    ".git/", ".venv/", "__pycache__/", "/sweep-results/", ".env", ".env.*", "*.pem", ".netrc",
)  # fmt: skip
"""Never part of a sweep: histories, environments, results, and files that hold secrets."""


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file."""

    text: str
    place: str
    """Such as ``.gitignore:3``; empty for a rule that needs no file."""

    def __str__(self) -> str:
        return f"`{self.text}`" + (f" ({self.place})" if self.place else "")


class Ignored:
    """The rules of one working folder."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._spec = GitIgnoreSpec.from_lines([rule.text for rule in rules])

    @classmethod
    def of(cls, folder: Path) -> "Ignored":
        """Read the rules of a working folder."""
        rules = [Rule(text, "") for text in _ALWAYS]
        for name in (GITIGNORE, OWN):
            file = folder / name
            lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
            rules += [Rule(line, f"{name}:{number}") for number, line in enumerate(lines, 1)]
        # The library numbers no empty lines.
        return cls([rule for rule in rules if rule.text.strip()])

    def rule(self, path: str) -> Rule | None:
        """Return the rule that leaves a path out; that of a folder ends with a slash."""
        found = self._spec.check_file(path)
        if not found.include or found.index is None:
            return None
        return self._rules[found.index]
