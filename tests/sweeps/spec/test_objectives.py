from dataclasses import replace

import pytest

from sweeps.capacity.layout import Layout, refuse_missing_gpus
from sweeps.spec.load import dump, parse
from sweeps.spec.objectives import Objective

FILE = """
name: several
model: {base: tiny:shapes}
data: {source: shapes}
search: {objective: OBJECTIVE, constraints: CONSTRAINTS}
"""


def sweep(objective, constraints="{}"):
    return parse(FILE.replace("OBJECTIVE", objective).replace("CONSTRAINTS", constraints))


def test_one_objective_is_a_list_of_one_that_leads():
    one, listed = sweep("{metric: loss}"), sweep("[{metric: loss}]")
    assert one == listed
    assert one.search.objectives == (Objective(metric="loss", mode="min"),)
    assert one.search.objective == one.search.objectives[0]
    assert "objective: {metric: loss, mode: min}" in dump(listed)


def test_several_have_the_direction_of_their_quantity():
    made = sweep("[{metric: cider}, {metric: adapter_mb}, {metric: loss}]")
    assert [each.mode for each in made.search.objectives] == ["max", "min", "min"]


def test_objectives_and_limits_are_written_as_they_are_read():
    made = sweep("[{metric: cider}, {metric: adapter_mb}]", '{latency_ms: "< 0.1", loss: "<= 3"}')
    assert parse(dump(made)) == made
    assert made.search.quantities == ("cider", "adapter_mb", "latency_ms", "loss")


@pytest.mark.parametrize(
    ("objective", "limits", "field"),
    [
        ("{metric: cider}", '{peak_memory_gb: "< 22"}', "search.constraints"),
        ("[{metric: cider}, {metric: peak_memory_gb}]", "{}", "search.objective"),
    ],
)
def test_what_only_a_gpu_measures_is_refused_without_one(objective, limits, field):
    made = sweep(objective, limits)
    on_cpu = Layout(hosts=1, slots=1, gpus_per_host=0, threads=1, cpus_per_host=1.0)
    with pytest.raises(ValueError, match=f"{field}: peak_memory_gb is measured on GPUs only"):
        refuse_missing_gpus(made, on_cpu)
    refuse_missing_gpus(made, replace(on_cpu, gpus_per_host=1))


@pytest.mark.parametrize(
    ("objective", "rung"),
    [
        ("{metric: loss}", 1),
        ("[{metric: loss}, {metric: adapter_mb}]", 1),
        ("[{metric: loss}, {metric: cider}]", 2),
        ("[{metric: loss}, {metric: latency_ms}]", 2),
    ],
)
def test_a_rung_is_judged_when_all_objectives_are_there(objective, rung):
    made = parse(
        FILE.replace("OBJECTIVE", objective).replace("CONSTRAINTS", "{}"),
        overrides=["evaluate.from_rung=2", "schedule.grace=2"],
    )
    assert made.first_judged_rung == rung
