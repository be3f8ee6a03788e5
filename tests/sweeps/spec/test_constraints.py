import math

import pytest

from sweeps.spec.constraints import constraints_form, judge, read_constraints


def limits(**texts):
    return read_constraints(texts)


def test_limits_read_back_from_what_they_write():
    made = limits(peak_memory_gb="< 22", adapter_mb="<=0.1", cider=">= 1e-3", loss="> 0")
    assert read_constraints(constraints_form(made)) == made
    assert [str(each) for each in made] == ["< 22", "<= 0.1", ">= 0.001", "> 0"]


@pytest.mark.parametrize(
    ("text", "value", "excess"),
    [
        ("< 22", 21.0, -1.0),
        ("< 22", 23.5, 1.5),
        ("<= 22", 22.0, 0.0),
        (">= 0.5", 0.75, -0.25),
        (">= 0.5", 0.25, 0.25),
        ("<= 22", math.nan, math.inf),
        (">= 22", math.inf, -math.inf),
    ],
)
def test_the_excess_is_above_0_beyond_the_limit(text, value, excess):
    (limit,) = limits(loss=text)
    assert limit.excess(value) == excess


@pytest.mark.parametrize("text", ["< 22", "> 22", "< 0"])
def test_a_limit_that_is_excluded_is_beyond_itself(text):
    (limit,) = limits(loss=text)
    assert 0 < limit.excess(limit.limit) < 1e-9


def test_what_cannot_get_better_is_judged_now_and_ends_the_trial():
    made = judge(limits(adapter_mb="<= 50"), {"measured/adapter_mb": 61.25}, {})
    assert made.excesses == {"adapter_mb": 11.25}
    assert made.violates == "adapter_mb is 61.25, must be <= 50"
    assert made.for_good


def test_memory_rises_so_only_an_upper_limit_is_broken_for_good():
    now = {"measured/peak_memory_gb": 23.0}
    assert judge(limits(peak_memory_gb="< 22"), now, {}).for_good
    assert not judge(limits(peak_memory_gb="> 30"), now, now).for_good


def test_what_may_get_better_is_judged_at_the_best_rung():
    latency = limits(latency_ms="< 30", valid_format=">= 0.9")
    best = {"measured/latency_ms": 40.0, "val/valid_format": 0.95}
    made = judge(latency, {"measured/latency_ms": 20.0, "val/valid_format": 0.1}, best)
    assert made.excesses == {"latency_ms": 10.0, "valid_format": pytest.approx(-0.05)}
    assert made.violates == "latency_ms is 40, must be < 30"
    assert not made.for_good


def test_what_was_not_reported_yet_breaks_nothing():
    made = judge(limits(adapter_mb="<= 50", latency_ms="< 30"), {}, {})
    assert (made.excesses, made.violates, made.for_good) == ({}, None, False)
