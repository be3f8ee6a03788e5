"""Secrets: the one list of their names, and the one function that hides them.

Text that leaves a process (a terminal, a log, MLflow, a record, a report) passes through `redact`,
and addresses that hold a secret are refused (`has_secret`), because addresses are kept and shown.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TextIO, cast
from urllib.parse import quote, unquote

HIDDEN = "***"
_LEAST = 8
"""Characters of a value of the environment from which on it is hidden wherever it stands; shorter
ones stand in ordinary words as well."""

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
_NAME = re.compile(
    r"""
    (?! .*(pad|eos|bos|unk|sep|cls|mask|image|video|page)_token$  # no keys to anything
      | .*(boi|eoi|start|end|per)_token$ )
    ( .*(token|password|passwd|passphrase|secrets?|credentials?|signature)
    | (.*_)?(pass|pwd|auth|authorization|sas|sig|jwt|cookie)
    | .*(access|account|api|auth|encryption|private|secret|shared|signing|ssh|storage)_?key
    | .*access_?key_?id
    | .*conn(ection)?_?str(ing)?
    )
    """,
    re.VERBOSE,
)
_ORDINARY = ("PWD", "OLDPWD")
"""The shell's variables for folders."""

# All patterns are linear: what repeats either has a bound or is consumed by its match.
_USERINFO = re.compile(
    r"""
    (?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30})?://(?!\[)  # an IPv6 address, not a user
    (?P<user>\*\*\*(?=@)|[^\s"'<>/?#:]*)
    (?: :(?!//) (?P<port>\d{1,5}(?=[/?#"'<>,;.)\]}`\s]|$))?
        (?P<password>(?:(?!://)\S)*|(?!\d{1,5}[/?#"'<>,;.)\]}`\s])\S(?:(?!://)[^\n@]){0,100}))?
    @""",
    re.VERBOSE,
)
"""As people write it: a password may hold blanks, or ``@ / # ?`` unescaped up to the last ``@``."""
_NAMES = (
    *("postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "hdfs", "sftp", "ssh"),
    *("abfs", "abfss", "wasb", "wasbs"),  # a container stands in the place of the user
)
"""Where a user without a password is only a name, and a password may be a ``${VARIABLE}``;
elsewhere a user may be a token."""
_ASSIGNED = re.compile(
    r"""
      (?<!\w)(?P<name>[A-Za-z][\w.%-]{0,63})=
    | (?<=["'])(?P<key>[A-Za-z][\w.%-]{0,63})\\?["']\s{0,4}:\s{0,4}
    """,
    re.VERBOSE,
)
_VALUE = re.compile(
    r"""
      (?P<quote>\\?["'])(?P<quoted>[^\n]*?)(?:(?P=quote)|(?=\n|\Z))
    | (?P<bare>\$\{\w+\}(?=[\s&"'<>,;.)\]}]|\Z)|[^\s&"'<>]+)
    """,
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(r"\$\{\w+\}|\$\w+|\.\.\.|\*\*\*|None|null|")
"""Stands in the place of a secret and is none; the first is how an address names one."""
_SHAPES = re.compile(
    r"""
      (?P<header>(?i:\bauthorization["']?\s{0,4}[:=]\s{0,4}["']?)(?!\*\*\*))
        (?:[A-Za-z-]{1,20}[ ]{1,4})?[^\s"',]+
    | \b(?:Bearer|Basic)\s{1,4}(?=[^\s\d]{0,64}\d)[\w.~+/=-]{12,}
    | \bhf_[A-Za-z0-9]{16,} | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b | \bAIza[\w-]{35}
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,} | \bglpat-[\w-]{16,}
    | \bsk-(?=[A-Za-z_-]{0,64}\d)[\w-]{20,} | \bxox[abeoprs]-[\w-]{10,}
    | -----BEGIN[ ](?:[A-Z]{1,20}[ ]){0,4}PRIVATE[ ]KEY-----
        .*?(?:-----END[ ](?:[A-Z]{1,20}[ ]){0,4}PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
"""Headers with credentials, and tokens and keys that are known by how they look."""


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Return whether a variable, field, header or query parameter of this name holds a secret.

    ``HF_TOKEN``, ``secret_key``, ``X-Amz-Signature`` and ``accountKey`` do; ``tokenizer``,
    ``max_new_tokens``, ``key`` and ``AWS_REGION`` do not.
    """
    words = "_".join(filter(None, _WORDS.split(unquote(name)))).lower()
    if name.isupper() and words.endswith("_key"):  # of the environment: whatever it opens
        return True
    return name not in _ORDINARY and _NAME.fullmatch(words) is not None


def secret_values(environ: Mapping[str, str]) -> list[str]:
    """Return the values of secret variables as texts may hold them, those that are long enough.

    The longest come first: one may be a part of another.
    """
    found = {value for name, value in environ.items() if is_secret(name)}
    written = ((value, quote(value, safe=""), json.dumps(value)[1:-1]) for value in found)
    forms = {form for each in written for form in each if len(form) >= _LEAST}
    return sorted(forms, key=len, reverse=True)


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a text with ``***`` in place of every secret.

    Those are users and passwords in addresses, values of secret query parameters and assignments,
    credentials in headers, tokens and keys of known shapes, and the values of secret variables of
    `environ`, that of this process. ``${VARIABLE}`` stays where it would be put in. Linear time.
    """
    for value in secret_values(environ):
        text = text.replace(value, HIDDEN)
    text = _SHAPES.sub(lambda found: (found["header"] or "") + HIDDEN, text)
    return _USERINFO.sub(_without_user, _without_values(text))


def has_secret(address: str) -> bool:
    """Return whether an address holds a secret, which a ``${VARIABLE}`` is not."""
    return redact(address, {}) != address


def redacted(stream: TextIO) -> TextIO:
    """Return a stream that writes each text to `stream` as `redact` returns it.

    Python has None for one that was closed before it began; that stays.
    """
    kept = stream is None or isinstance(stream, _Redacted)
    return stream if kept else cast(TextIO, _Redacted(stream))


class _Redacted:
    """Looks at each call's text as a whole; a secret that comes in pieces is not seen."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _without_user(found: re.Match[str]) -> str:
    scheme = found["scheme"] or ""
    if found["port"] and scheme.lower() in ("http", "https", "ray"):
        return found[0]  # an address with a port and an @ in its path
    password = (found["port"] or "") + (found["password"] or "")
    named = scheme.partition("+")[0].lower() in _NAMES
    if named and _PLACEHOLDER.fullmatch(password):
        return found[0]
    return f"{scheme}://{HIDDEN}@"


def _without_values(text: str) -> str:
    pieces: list[str] = []
    end = 0
    for found in _ASSIGNED.finditer(text):
        if found.start() < end or not is_secret(found["name"] or found["key"]):
            continue
        value = _VALUE.match(text, found.end())
        if value is None:
            continue
        start, stop = value.span("bare" if value["bare"] else "quoted")
        if _PLACEHOLDER.fullmatch(text, start, stop):
            continue
        stop = start + len(text[start:stop].rstrip(",;.)]}"))
        if not _PLACEHOLDER.fullmatch(text, start, stop):
            pieces += text[end:start], HIDDEN
            end = stop
    return "".join(pieces) + text[end:]
