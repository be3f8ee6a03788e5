"""``sweeps space`` and the space in ``sweeps plan``, as a person reads them."""

import re
import subprocess
import sys

import pytest

from search_spaces.presets import PRESETS

HEAD = """\
name: shapes
model: {base: tiny:shapes}
data: {source: shapes}
search:
  space:
    adapter.rank: {choice: [4, 8, 16]}
    quantization: {choice: [none, int8]}
    adapter.dropout: {choice: [0.0, 0.1], when: {quantization: int8}}
"""


@pytest.fixture
def said(sweeps):
    """Return a function that calls the command: arguments -> exit code, words of each line."""

    def call(*arguments):
        code, out, err = sweeps(*arguments)
        return code, [re.sub(r" +", " ", line).strip() for line in out.splitlines()], err

    return call


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_shown_with_its_reasons(said, name):
    code, lines, _ = said("space", name)
    assert code == 0
    space = PRESETS[name]().space
    assert lines[0] == "field domain only when"
    assert lines[1 : len(space) + 1] == [f"{path} {domain}" for path, domain in space.items()]
    combinations = f"{space.combinations():,.0f} combinations of its finite fields"
    assert f"size continuous, with {combinations}" in lines
    assert lines[-1].endswith(".")


def test_the_share_that_a_presets_rules_allow_is_shown(said):
    _, lines, _ = said("space", "full")
    assert "rule not (quantization == 'int8' and adapter.variant == 'dora') (refuses 11 %)" in lines
    assert "allowed 89 % of the points" in lines


@pytest.mark.parametrize("command", ["space", "plan"])
def test_the_space_of_a_file_is_shown_with_rules_and_size(said, tmp_path, command):
    (tmp_path / "mine.yaml").write_text(
        HEAD + "  rules: [adapter.rank > 4]\n  forbidden: [{quantization: int8, adapter.rank: 16}]"
    )
    code, lines, _ = said(command, "mine.yaml")
    assert code == 0
    start = lines.index("field domain only when")
    assert lines[start + 1 : start + 9] == [
        "adapter.rank 4, 8, 16",
        "quantization none, int8",
        "adapter.dropout 0.0, 0.1 quantization is int8",
        "",
        "rule adapter.rank > 4 (refuses 33 %)",
        "rule forbidden: quantization int8, adapter.rank 16 (refuses 17 %)",
        "allowed 50 % of the points",
        "size 9 points",
    ]
    assert not any("warning" in line for line in lines)


def test_few_allowed_points_are_warned_of(said, tmp_path):
    rate = (
        "    train.learning_rate: {uniform: [0.0001, 1.0]}\n  rules: [train.learning_rate < 0.01]"
    )
    (tmp_path / "mine.yaml").write_text(HEAD + rate)
    code, lines, _ = said("plan", "mine.yaml")
    assert code == 0
    assert any(re.match(r"allowed [\d.]+ % of the points, by 1,000 points drawn", x) for x in lines)
    assert any(line.startswith("warning: few points are allowed") for line in lines)


def test_contradictory_rules_are_refused(said, tmp_path):
    (tmp_path / "mine.yaml").write_text(HEAD + "  rules: [adapter.rank > 99]")
    for command in ("space", "plan", "run"):
        code, lines, err = said(command, "mine.yaml")
        assert (code, lines) == (2, [])
        assert "search.rules  must allow some point" in err
        assert err.endswith("1 problem; nothing was started\n")


def test_an_unknown_name_is_answered_with_those_there_are(said):
    code, _, err = said("space", "qlroa")
    assert code == 2
    assert err.startswith("error: no file, preset or recipe 'qlroa'; there are lora, qlora, ")
    assert err.endswith("(did you mean qlora?)\n")


def test_a_preset_is_shown_without_loading_what_sweeps_run():
    code = (
        "import sys; from sweeps.cli.spaces import show; from rich.console import Console; "
        "show('full', Console()); "
        "assert not {'torch', 'ray', 'mlflow', 'optuna', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
