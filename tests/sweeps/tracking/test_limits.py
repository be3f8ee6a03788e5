"""What MLflow would refuse is made to fit: held against MLflow itself."""

import math

import pytest

from sweeps.tracking import limits
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers.report import Report

ODD = [
    "val/größe",
    "a b",
    "val/(x)=1",
    "a//b",
    "../up",
    "/root",
    "a/",
    ".",
    "",
    "x" * 300,
    "50 %",
    "a\nb",
]
"""Names, some of which MLflow takes as they are."""


@pytest.fixture
def opened(tracking):
    sweep = SweepRun.open(tracking, "s-1", "", {})

    def make(number=0, **more):
        name = f"trial-{number:03d}"
        given = {"params": {}, "tags": {}, **more}
        return PublishedTrial.open(sweep, name, name, **given)

    return make


def read(trial):
    return trial.client.get_run(trial.run_id).data


def whole(trial, path):
    with open(trial.client.download_artifacts(trial.run_id, path)) as file:
        return file.read()


def test_names_that_mlflow_takes_stay_as_they_are():
    for name in ("val/cider", "adapter.rank", "a b", "a:b", "größe", "examples/0"):
        assert limits.name(name) == name


def test_odd_names_stay_different():
    fit = {limits.name(name) for name in [*ODD, "val/[x]=1", "x" * 301]}
    assert len(fit) == len(ODD) + 2
    assert all(len(name) <= 250 for name in fit)


def test_mlflow_takes_metrics_of_any_name_and_value(opened):
    trial = opened()
    values = [math.nan, math.inf, -math.inf, *map(float, range(len(ODD)))]
    metrics = dict(zip(ODD, values, strict=False))
    trial.report(Report(rung=0, metrics=metrics, finished=False, seconds=1), "cider")
    assert trial.refused() == []
    assert len(read(trial).metrics) == len(ODD) + 1
    assert read(trial).metrics["a b"] > 1e300


def test_parameters_that_are_too_long_too_many_or_odd_stop_nothing(opened):
    long = "layer, " * 2000
    many = {f"field.{number}": number for number in range(250)}
    trial = opened(params={"adapter.targets": long, "odd (name)": 1, **many})
    assert trial.refused() == []
    params = read(trial).params
    assert len(params) == 252
    cut = params["adapter.targets"]
    assert len(cut) == 6000
    assert cut.endswith("[cut; all 14000 characters are in cut/adapter.targets.txt]")
    assert whole(trial, "cut/adapter.targets.txt") == long


def test_tags_that_are_too_long_are_cut_and_whole_in_a_file(opened):
    trial = opened(tags={"note": "n" * 9000})
    report = Report(rung=1, metrics={"val/cider": 1.0}, finished=False, seconds=1,
                    symptoms=("s" * 9000,))  # fmt: skip
    trial.report(report, "cider")
    trial.sweep.close_trial("trial-000", "failed-by-guard", "g" * 9000)
    assert trial.refused() == []
    tags = read(trial).tags
    assert {len(tags[tag]) for tag in ("note", "trial.symptoms", "trial.guard")} == {8000}
    assert whole(trial, "cut/trial.guard.txt") == "g" * 9000
