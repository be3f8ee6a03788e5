"""The gate: what passes it, and for each check what does not."""

from dataclasses import replace

import numpy as np
import pytest

from sweeps.promotion.gate import Evidence, Policy, Terms, compare_terms, judge

IMAGES = 200
TERMS = Terms(images="a" * 64, metrics="1", base="hub/model@c0ffee")


def policy(**values):
    return Policy(**{"model": "m", "objective": "exact_match", **values})


POLICY = policy()


@pytest.fixture
def evidence(scored):
    """Return a function: hits of each image -> what was measured of such captions."""

    def make(hits, title="side", **values):
        measured = {"adapter_mb": 1.5, "latency_ms": 20.0, "terms": TERMS, **values}
        return Evidence(title=title, scored=scored(hits), **measured)

    return make


def hits(share, images=IMAGES):
    """The first images are hit, the others missed."""
    return np.arange(images) < share * images


def failed(verdict):
    return [check.name for check in verdict.checks if not check.passed]


def test_a_clear_gain_passes_and_its_interval_is_that_of_the_paired_bootstrap(evidence):
    """40 of 200 images change from miss to hit: the gain is 0.2, its standard error
    sqrt(0.2 * 0.8 / 200)."""
    verdict = judge(evidence(hits(0.7), "new"), evidence(hits(0.5), "old"), POLICY)
    assert verdict.passed
    assert verdict.reasons == ()
    assert (verdict.challenger, verdict.champion, verdict.images) == ("new", "old", IMAGES)
    error = 1.96 * np.sqrt(0.2 * 0.8 / IMAGES)
    gain = verdict.gain
    assert gain.output == "exact_match"
    assert (gain.challenger, gain.champion) == (0.7, 0.5)
    assert gain.gain == pytest.approx(0.2)
    assert (gain.low, gain.high) == pytest.approx((0.2 - error, 0.2 + error), abs=0.01)


def test_equal_captions_are_refused(evidence):
    same = evidence(hits(0.6))
    verdict = judge(same, same, POLICY)
    assert failed(verdict) == ["gain in exact_match"]
    assert verdict.reasons == (
        "gain in exact_match: +0.0000, 95 % interval +0.0000 to +0.0000; "
        "required: its lower end above 0",
    )


def test_a_gain_that_may_be_chance_is_refused(evidence):
    """21 images become hits and 19 become misses."""
    before = hits(0.5)
    after = before.copy()
    after[81:100], after[100:121] = False, True
    verdict = judge(evidence(after), evidence(before), POLICY)
    assert verdict.gain.gain == pytest.approx(0.01)
    assert verdict.gain.low < 0 < verdict.gain.high
    assert failed(verdict) == ["gain in exact_match"]


@pytest.mark.parametrize(("margin", "passes"), [(0.1, True), (0.2, False)])
def test_the_lower_end_must_be_above_the_margin(evidence, margin, passes):
    verdict = judge(evidence(hits(0.7)), evidence(hits(0.5)), policy(margin=margin))
    assert verdict.passed == passes


def test_more_confidence_asks_for_more(evidence):
    """4 images of 200 became hits: 1.8 % of the resamples have none of them."""
    sides = evidence(hits(0.52)), evidence(hits(0.5))
    assert judge(*sides, policy(confidence=0.95)).passed
    assert failed(judge(*sides, policy(confidence=0.99))) == ["gain in exact_match"]


def with_errors(side, share):
    """Let a share of the images have a wrong word, whatever else is true of their captions."""
    wrong = np.stack([hits(share).astype(float), 3 * np.ones(IMAGES)], axis=1)
    scores = side.scored
    corpus = {**scores.corpus, "word_error_rate": share / 3}
    statistics = {**scores.statistics, "word_error_rate": wrong}
    return replace(side, scored=replace(scores, corpus=corpus, statistics=statistics))


def test_a_significant_loss_on_another_score_is_refused_though_the_objective_gains(evidence):
    """The word error rate is better when it is smaller: its gain is the fall."""
    champion = with_errors(evidence(hits(0.5)), 0.3)
    verdict = judge(with_errors(evidence(hits(0.7)), 0.4), champion, POLICY)
    assert failed(verdict) == ["other scores"]
    (other,) = verdict.deltas[1:]
    assert (other.output, other.mode, other.worse) == ("word_error_rate", "min", True)
    assert other.gain == pytest.approx(-0.1 / 3)
    assert other.low < other.gain < other.high < 0
    assert verdict.reasons[0].startswith("other scores: worse: word_error_rate -0.0333 (-0.0")


def test_a_loss_that_may_be_chance_is_no_reason(evidence):
    champion = with_errors(evidence(hits(0.5)), 0.3)
    verdict = judge(with_errors(evidence(hits(0.7)), 0.305), champion, POLICY)
    assert verdict.deltas[1].gain < 0
    assert verdict.passed


def described(side, length):
    """Let every caption have `length` of its references' length."""
    ratio = np.stack([np.full(IMAGES, length), np.ones(IMAGES)], axis=1)
    scores = side.scored
    corpus = {**scores.corpus, "length_ratio": length}
    statistics = {**scores.statistics, "length_ratio": ratio}
    return replace(side, scored=replace(scores, corpus=corpus, statistics=statistics))


def test_a_score_without_a_better_direction_is_shown_and_not_judged(evidence):
    verdict = judge(described(evidence(hits(0.7)), 0.5), described(evidence(hits(0.5)), 1), POLICY)
    shown = {delta.output: delta for delta in verdict.deltas}["length_ratio"]
    assert (shown.mode, shown.worse) == (None, False)
    assert shown.high < 0
    assert verdict.passed


def test_what_four_digits_do_not_show_is_neither_gain_nor_loss(evidence):
    """All images differ by the same: of that the bootstrap is quite sure."""
    longer, shorter = described(evidence(hits(0.5)), 1.0), described(evidence(hits(0.5)), 1 - 4e-5)
    other = policy(objective="length_ratio")
    assert failed(judge(longer, shorter, other)) == ["gain in length_ratio"]
    (delta, *_) = judge(shorter, longer, other).deltas
    assert delta.high < 0
    assert not delta.worse


def test_an_objective_that_is_minimized_gains_by_falling(evidence):
    other = policy(objective="word_error_rate", mode="min")
    better, worse = evidence(hits(0.7)), evidence(hits(0.5))
    verdict = judge(better, worse, other)
    assert verdict.deltas[0].output == "word_error_rate"
    assert verdict.gain.gain == pytest.approx(0.2 / 3)
    assert 0 < verdict.gain.low < verdict.gain.gain < verdict.gain.high
    assert verdict.passed
    assert failed(judge(worse, better, other)) == ["gain in word_error_rate", "other scores"]


def test_an_objective_without_a_direction_of_its_own_has_the_sweeps(evidence):
    longer, shorter = described(evidence(hits(0.5)), 1.0), described(evidence(hits(0.5)), 0.5)
    other = policy(objective="length_ratio", mode="min")
    assert judge(shorter, longer, other).passed
    assert not judge(longer, shorter, other).passed


@pytest.mark.parametrize(
    ("limit", "check"),
    [
        ({"max_adapter_mb": 1.4}, "adapter size"),
        ({"max_latency_ms": 19.0}, "latency"),
        ({"max_slowdown": 1.9}, "slowdown"),
    ],
)
def test_a_limit_that_is_broken_refuses_and_one_that_is_met_does_not(evidence, limit, check):
    challenger, champion = evidence(hits(0.7)), evidence(hits(0.5), latency_ms=10.0)
    refused = judge(challenger, champion, policy(**limit))
    assert failed(refused) == [check]
    ((name, value),) = limit.items()
    assert f"at most {value:g}" in refused.reasons[0]
    assert judge(challenger, champion, policy(**{name: value * 1.1})).passed


def test_what_was_checked_before_decides_too(evidence):
    (bad, *_) = compare_terms(TERMS, replace(TERMS, images="b" * 64), rescored=False)
    verdict = judge(evidence(hits(0.7)), evidence(hits(0.5)), POLICY, [bad])
    assert failed(verdict) == ["test images"]


@pytest.mark.parametrize(
    ("part", "check"),
    [("images", "test images"), ("metrics", "metric version"), ("base", "base revision")],
)
def test_other_terms_are_refused_unless_both_are_scored_anew(part, check):
    old = replace(TERMS, **{part: "other"})
    found = {each.name: each for each in compare_terms(TERMS, old, rescored=False)}
    assert [name for name, each in found.items() if not each.passed] == [check]
    assert "for the champion other" in found[check].measured
    assert "--allow-new-data" in found[check].required
    anew = {each.name: each for each in compare_terms(TERMS, old, rescored=True)}
    assert all(each.passed for each in anew.values())
    assert "for the champion other" in anew[check].measured


def test_a_champion_whose_terms_are_not_known_is_refused():
    found = compare_terms(TERMS, None, rescored=False)
    assert not any(each.passed for each in found)
    assert "for the champion not known" in found[0].measured


def test_equal_terms_agree():
    assert all(each.passed for each in compare_terms(TERMS, replace(TERMS), rescored=False))


def test_captions_of_other_images_or_without_the_objective_cannot_be_judged(evidence, scored):
    challenger = evidence(hits(0.7))
    others = replace(challenger, scored=scored(hits(0.5), prefix="photo"))
    with pytest.raises(ValueError, match="only captions of the same images"):
        judge(challenger, others, POLICY)
    blind = replace(challenger, scored=scored(hits(0.5), metrics=("word_error_rate",)))
    with pytest.raises(ValueError, match="objective exact_match is not among the scores of both"):
        judge(challenger, blind, POLICY)
