"""The sweep inside a Ray cluster file reads as the same sweep in a file of its own."""

import json
import textwrap

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from sweeps.spec.load import SpecError, dump, parse, read, ready_text

CLUSTER = """\
cluster_name: captions
provider: {type: local, head_ip: 10.0.0.1, worker_ips: []}
auth: {ssh_user: ubuntu}
metadata:
  owner: us
  sweep:
"""
SWEEP = """\
name: shapes
model: {base: tiny:shapes}
data: {source: shapes}
train:
  learning_rate: 5e-5
"""


def clustered(sweep: str) -> str:
    return CLUSTER + textwrap.indent(sweep, "    ")


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(text, overrides=overrides)
    return list(map(str, caught.value.issues))


def test_both_forms_are_the_same_sweep():
    text = ready_text("quickstart")
    assert parse(clustered(text)) == parse(text)
    assert parse(clustered(text), overrides=["train.epochs=9"]).train.epochs == 9


def test_a_cluster_file_is_read_by_path(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(clustered(SWEEP))
    assert read(str(file), ["search.trials=3"]).search.trials == 3


def test_ray_accepts_the_file_that_holds_a_sweep():
    validate_config(prepare_config(yaml.safe_load(clustered(ready_text("quickstart")))))


def test_problems_have_the_lines_of_the_file_and_the_paths_of_the_sweep():
    text = clustered(SWEEP + "  epochs: 0\n  epochs: 2\n  epohcs: 3\n")
    assert problems(text, "train.batch_size=0") == [
        "sweep.yaml:12  train.epochs  must be a whole number of at least 1, got 0",
        "sweep.yaml:13  train.epochs  must be given once, was on line 12 already",
        *[line for line in problems(text) if line.startswith("sweep.yaml:14  train.epohcs")],
        "--set  train.batch_size  must be a whole number of at least 1, got 0",
    ]


def test_what_is_wrong_beside_the_sweep_is_for_ray_to_say():
    assert parse("docker: {}\ndocker: {}\n" + clustered(SWEEP)) == parse(SWEEP)


@pytest.mark.parametrize(
    ("second", "path"),
    [("  sweep: {name: other}\n", "metadata.sweep"), ("metadata: {}\n", "metadata")],
)
def test_of_two_sweeps_none_is_chosen(second, path):
    """Ray would take the second one."""
    (problem,) = problems(clustered(SWEEP) + second)
    assert f"  {path}  must be given once" in problem


@pytest.mark.parametrize(
    ("metadata", "place"),
    [
        ("", "sweep.yaml  "),
        ("metadata: {sweeps: {}}", "sweep.yaml:2  "),
        ("metadata: 5", "sweep.yaml:2  "),
        ("metadata: {sweep: 5}", "sweep.yaml:2  "),
        ("metadata: {sweep: }", "sweep.yaml:2  "),
    ],
)
def test_a_cluster_file_without_a_sweep_is_told_so(metadata, place):
    (problem,) = problems(f"cluster_name: captions\n{metadata}\n")
    told = "metadata.sweep  must hold the sweep, for this is a Ray cluster file"
    assert problem == place + told + (", got 5" if "sweep: 5" in metadata else "")


def test_small_numbers_are_numbers_here_and_texts_for_ray():
    """Ray reads YAML 1.1, in which 5e-5 is a text: its copy of the file is not to be read."""
    text = clustered(SWEEP)
    assert parse(text).train.learning_rate == 5e-5
    copy = json.dumps(yaml.safe_load(text))
    assert problems(copy) == [
        'sweep.yaml:1  train.learning_rate  must be a number above 0, got "5e-5"'
    ]


def test_a_sweep_is_written_as_a_file_of_its_own():
    assert parse(dump(parse(clustered(SWEEP)))) == parse(SWEEP)
    assert "metadata" not in dump(parse(clustered(SWEEP)))
