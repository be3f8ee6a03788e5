"""The files that are not sent: names that may hold secrets, and rules in the form of .gitignore.

The names in `NEVER` and `NEVER_FOLDERS` are not sent, whatever their case, unless a line of
``.sweepsignore`` names the very file: ``!/keys/demo.pem`` does, ``!/keys/`` and ``!*`` do not.
Else the rules of ``.sweepsignore`` come after those of ``.gitignore``, so that ``!data/`` in the
former sends what git leaves alone. Both files are read from the working folder itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

from workers.data.folder import SUFFIXES

GITIGNORE, OWN = ".gitignore", ".sweepsignore"
NEVER = (
    ".*",
    # private keys and stores of keys
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*_rsa", "*_dsa", "*_ecdsa", "*_ed25519"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.ppk", "*.asc", "*.gpg", "*.jks", "*.keystore"),
    *("*.kdb", "*.kdbx", "*.keytab"),
    # credentials of services
    *("credentials", "credentials.*", "*-credentials.json", "*_credentials.json", "_netrc"),
    *("application_default_credentials.json", "service-account*.json", "service_account*.json"),
    *("client_secret*.json", "kubeconfig", "*.kubeconfig", "rclone.conf", "*.ovpn"),
    *("secret", "secret.*", "secrets", "secrets.*", "passwd", "shadow"),
    *("password", "password.txt", "passwords", "passwords.txt", "passwords.csv"),
    *("*.tfvars", "*.tfvars.json", "*.tfstate*"),
    # tokens
    *("token", "token.txt", "token.json", "*_token", "*_token.txt", "*.token", "*.env"),
    # histories of shells and other programs
    *("*_history", "_viminfo"),
)
"""Names in lower case of files and folders that are not sent, wherever they lie."""
NEVER_FOLDERS = (
    *("venv", "env", "virtualenv", "conda", "miniconda*", "anaconda*", "site-packages"),
    *("node_modules", "__pycache__", "*.egg-info", "sweep-results"),
)
"""The same of folders: environments, caches and results. Histories begin with a dot."""
_NEVER = re.compile("|".join(map(translate, NEVER)))
_NEVER_FOLDERS = re.compile("|".join(map(translate, (*NEVER, *NEVER_FOLDERS))))
_HARMLESS = frozenset((".huggingface.yaml",))
"""Begins with a dot; `datasets` reads from it how a folder is divided."""


@dataclass(frozen=True)
class IgnoreRule:
    """Why a file is not sent, or is sent all the same."""

    text: str
    """A line of an ignore file, or a name of `NEVER`."""
    place: str
    """Such as ``.gitignore:3``."""
    fix: str
    """Line for ``.sweepsignore`` that lifts the rule."""

    def __str__(self) -> str:
        return f"`{self.text}` ({self.place})"


class Ignored:
    """The rules of one working folder."""

    def __init__(self, folder: Path) -> None:
        self._rules: list[IgnoreRule] = []
        for name in (GITIGNORE, OWN):
            file = folder / name
            lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
            self._rules += [
                IgnoreRule(line, f"{name}:{number}", f"!{line}")
                for number, line in enumerate(lines, 1)
                if line.strip()  # the library numbers no empty lines
            ]
        self._spec = GitIgnoreSpec.from_lines([rule.text for rule in self._rules])
        self._allowing = {rule.text: rule for rule in self._rules if rule.place.startswith(OWN)}

    def rule(self, path: str) -> IgnoreRule | None:
        """Return the rule that leaves a path out; that of a folder ends with a slash."""
        found = self._spec.check_file(path)
        ordinary = self._rules[found.index or 0] if found.include else None
        return self.never(path) or ordinary

    def never(self, path: str) -> IgnoreRule | None:
        """Return the rule of `NEVER` that leaves a path out, None where a line allows it."""
        for at, name in _blocked(path):
            if self._allowed(path, at) is None:
                return IgnoreRule(name, "a name that is never sent", line_for(at))
        return None

    def allowed(self, path: str) -> IgnoreRule | None:
        """Return the line of ``.sweepsignore`` that sends a path in spite of its name."""
        lines = (self._allowed(path, at) for at, _ in _blocked(path))
        return next((line for line in lines if line), None)

    def names(self, path: str) -> bool:
        """Return whether a line of ``.sweepsignore`` sends this one file."""
        return line_for(path) in self._allowing

    def _allowed(self, path: str, at: str) -> IgnoreRule | None:
        """Return the line that names a path, or the part `at` that is not sent, to the letter."""
        return self._allowing.get(line_for(path)) or self._allowing.get(line_for(at))


def _blocked(path: str) -> Iterator[tuple[str, str]]:
    """Yield each part of a path that ends in a name that is never sent, with its pattern."""
    parts = PurePosixPath(path).parts
    for end, part in enumerate(parts, 1):
        is_folder = end < len(parts) or path.endswith("/")
        pattern = _NEVER_FOLDERS if is_folder else _NEVER
        # A picture of a key is no key; contents with a private key are refused whatever the name.
        is_file = not (is_folder or part.startswith("."))
        picture = is_file and PurePosixPath(part.lower()).suffix in SUFFIXES
        if part == ".." or part in _HARMLESS or picture:
            continue
        if pattern.match(part.lower()):
            known = (*NEVER, *NEVER_FOLDERS) if is_folder else NEVER
            name = next(each for each in known if re.match(translate(each), part.lower()))
            yield "/".join(parts[:end]) + ("/" if is_folder else ""), name


def line_for(path: str) -> str:
    """Return the line of ``.sweepsignore`` that sends this one file or folder."""
    return "!/" + re.sub(r"[\\*?\[\] ]", r"\\\g<0>", path)
