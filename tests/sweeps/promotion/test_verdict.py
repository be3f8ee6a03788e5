"""A verdict as people read it."""

import io
from dataclasses import replace

from rich.console import Console

from sweeps.promotion.gate import Check, MetricDelta, Terms, Verdict
from sweeps.promotion.promote import print_verdict

GAIN = MetricDelta(
    output="cider", mode="max", challenger=1.25, champion=1.0, gain=0.25, low=0.125, high=0.375,
    p=0.0004,
)  # fmt: skip
LOSS = replace(GAIN, output="meteor", gain=-0.25, low=-0.375, high=-0.125, p=0.01)
PASSED = Check(name="gain in cider", passed=True, measured="+0.25", required="above 0")
FAILED = Check(name="other scores", passed=False, measured="worse: meteor", required="no loss")
VERDICT = Verdict(
    challenger="trial-003 of s-1", champion="m version 2", checks=(PASSED, FAILED),
    deltas=(GAIN, LOSS), images=1000, terms=Terms(images="i", metrics="1", base="b"),
)  # fmt: skip
SENTENCE = (
    "refused: cider 1.2500 against 1.0000 of m version 2, gain +0.2500 (95 % interval +0.1250 to "
    "+0.3750) on 1000 test images"
)


def said(verdict):
    written = io.StringIO()
    print_verdict(verdict, 2, Console(file=written, width=120, markup=False, highlight=False))
    return written.getvalue()


def test_a_refusal_shows_numbers_and_every_reason():
    assert VERDICT.headline == SENTENCE
    assert said(VERDICT).splitlines()[-3:-1] == [
        SENTENCE,
        "  because of other scores: worse: meteor; required: no loss",
    ]


def test_a_pass_has_no_reasons():
    passed = replace(VERDICT, checks=(PASSED,))
    assert passed.headline.startswith("passed: cider")
    assert "because of" not in said(passed)


def test_without_a_comparison_nothing_is_made_up():
    refused = replace(VERDICT, deltas=(), images=0)
    assert refused.headline == "refused: trial-003 of s-1 was not compared with m version 2"
    assert "| score |" not in refused.markdown()


def test_the_version_page_has_both_tables():
    assert VERDICT.markdown().splitlines() == [
        f"**{SENTENCE}**",
        "- because of other scores: worse: meteor; required: no loss",
        "",
        "| score | challenger | champion | gain | interval | p |  |",
        "|---|---|---|---|---|---|---|",
        "| cider | 1.2500 | 1.0000 | +0.2500 | +0.1250 to +0.3750 | <0.001 | better |",
        "| meteor | 1.2500 | 1.0000 | -0.2500 | -0.3750 to -0.1250 | 0.010 | worse |",
        "",
        "| check |  | measured | required |",
        "|---|---|---|---|",
        "| gain in cider | passed | +0.25 | above 0 |",
        "| other scores | FAILED | worse: meteor | no loss |",
    ]


def test_few_images_are_a_warning():
    few = replace(VERDICT, images=29)
    assert "only 29 test images: intervals of fewer than 30 are too narrow" in said(few)
    assert "only 29 test images" in few.markdown()
    assert "too narrow" not in said(replace(VERDICT, images=30))


def test_what_has_no_better_direction_is_not_judged():
    described = replace(LOSS, output="length_ratio", mode=None)
    assert "| not judged |" in replace(VERDICT, deltas=(GAIN, described)).markdown()
