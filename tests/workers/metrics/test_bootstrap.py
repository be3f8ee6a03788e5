"""The bootstrap, held against resampling by hand and against data whose truth is known."""

import numpy as np
import pytest

from workers.metrics.bootstrap import interval, paired, resample, weights
from workers.metrics.scorer import Scored


def mean(totals):
    return {"mean": totals[..., 0] / totals[..., 1]}


def ratio(totals):
    """A metric of two outputs that is no mean over the images, as BLEU is none."""
    share = totals[..., 0] / totals[..., 1]
    return {"ratio": share, "root": share**0.5}


POOLS = {"mean": mean, "ratio": ratio}


def scored(values, ids=None):
    """Captions with these values per image, of which both metrics are made."""
    values = np.asarray(values, dtype=float)
    words = np.arange(1, len(values) + 1)
    return Scored(
        ids=ids or tuple(f"{number:04d}" for number in range(len(values))),
        corpus={},
        images={},
        statistics={
            "mean": np.stack([values, np.ones(len(values))], axis=1),
            "ratio": np.stack([values * words, words], axis=1),
        },
    )


def captions(seed=0, images=50):
    return scored(np.random.default_rng(seed).uniform(size=images))


def test_a_weighted_sum_is_the_same_as_drawing_the_images_again_and_again():
    one = captions()
    (drawn,) = weights(50, 20, seed=3)
    (made,) = resample([one], POOLS, resamples=20, seed=3)
    for number, row in enumerate(drawn.astype(int)):
        for name, pool in POOLS.items():
            repeated = np.repeat(one.statistics[name], row, axis=0).sum(axis=0)
            for output, value in pool(repeated).items():
                assert made.samples[output][number] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("images", [2, 7, 499_999])
def test_every_resample_draws_as_many_images_as_there_are(images):
    blocks = list(weights(images, 3, seed=0))
    assert sum(len(block) for block in blocks) == 3
    assert all(block.shape[1] == images for block in blocks)
    assert all((block.sum(axis=1) == images).all() for block in blocks)


def test_images_are_drawn_with_equal_chances_and_independently():
    """Of a multinomial: mean 1, variance 1 - 1/n, covariance -1/n."""
    drawn = np.concatenate(list(weights(4, 200_000, seed=0)))
    expected = np.full((4, 4), -0.25) + np.eye(4)
    assert drawn.mean(axis=0) == pytest.approx(np.ones(4), abs=0.01)
    assert np.cov(drawn.T) == pytest.approx(expected, abs=0.01)


def test_the_value_is_that_of_all_images():
    one = captions()
    made = interval(one, POOLS, resamples=10)
    assert list(made) == ["mean", "ratio", "root"]
    for name, pool in POOLS.items():
        for output, value in pool(one.statistics[name].sum(axis=0)).items():
            assert made[output].value == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_intervals_hold_the_truth_as_often_as_they_say(confidence):
    """Of a thousand samples from one population; a mean of 60 is all but normal."""
    made = [
        interval(captions(seed, images=60), {"mean": mean}, 400, confidence)["mean"]
        for seed in range(1000)
    ]
    held = np.mean([each.low <= 0.5 <= each.high for each in made])
    assert held == pytest.approx(confidence, abs=0.03)


def test_equal_systems_are_told_apart_as_seldom_as_the_confidence_says():
    def differ(seed):
        generator = np.random.default_rng(seed)
        hard = generator.uniform(size=60)
        one, other = (scored(hard + generator.normal(size=60)) for _ in range(2))
        return paired(one, other, {"mean": mean}, 400)["mean"].significant

    assert np.mean([differ(seed) for seed in range(1000)]) == pytest.approx(0.05, abs=0.025)


def test_pairs_of_systems_that_find_the_same_images_hard_have_narrower_intervals():
    generator = np.random.default_rng(0)
    hard = generator.uniform(size=200)
    one, other = (scored(hard + generator.normal(scale=0.05, size=200)) for _ in range(2))
    difference = paired(one, other, POOLS, 2000)["mean"]
    first, second = (interval(each, POOLS, 2000)["mean"] for each in (one, other))
    unpaired = np.hypot(first.high - first.low, second.high - second.low)
    assert difference.high - difference.low < unpaired / 3
    assert difference.value == pytest.approx(first.value - second.value)


def test_a_difference_in_every_image_is_significant_and_has_its_sign():
    one = captions()
    better = scored(one.statistics["mean"][:, 0] + 0.1)
    up, down = paired(better, one, POOLS)["mean"], paired(one, better, POOLS)["mean"]
    assert (up.value, up.low, up.high) == pytest.approx((0.1, 0.1, 0.1))
    assert (down.value, down.low, down.high) == pytest.approx((-0.1, -0.1, -0.1))
    assert up.significant
    assert down.significant
    assert up.p == down.p == pytest.approx(2 / 10_001)


def test_identical_captions_differ_by_exactly_nothing():
    for difference in paired(captions(images=333), captions(images=333), POOLS).values():
        assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
        assert (difference.p, difference.significant) == (1.0, False)


def test_the_order_of_the_images_makes_no_difference():
    one, other = captions(0), captions(1)
    turned = Scored(
        ids=other.ids[::-1], corpus={}, images={},
        statistics={name: rows[::-1] for name, rows in other.statistics.items()},
    )  # fmt: skip
    assert paired(one, turned, POOLS, 50) == paired(one, other, POOLS, 50)


def test_the_seed_decides_the_resamples():
    one, other = captions(0), captions(1)
    assert paired(one, other, POOLS, 500) == paired(one, other, POOLS, 500)
    assert paired(one, other, POOLS, 500, seed=1) != paired(one, other, POOLS, 500)


def test_more_metrics_at_once_leave_the_others_as_they_are():
    alone = interval(captions(), {"mean": mean}, 500)
    together = interval(captions(), POOLS, 500)
    assert together["mean"].low == pytest.approx(alone["mean"].low, rel=1e-12)


def test_higher_confidence_makes_a_wider_interval():
    (one,) = resample([captions()], POOLS)
    narrow, wide = one.interval("mean", 0.5), one.interval("mean", 0.99)
    assert wide.low < narrow.low < one.values["mean"] < narrow.high < wide.high
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 95"):
        one.interval("mean", 95)


@pytest.mark.parametrize(("values", "count"), [([], 0), ([0.5], 1)])
def test_one_image_is_too_few(values, count):
    with pytest.raises(ValueError, match=f"at least two images, got {count}"):
        interval(scored(values), POOLS)


def test_other_images_are_refused_with_their_names():
    one = scored([0.1, 0.2, 0.3], ids=("a", "b", "c"))
    other = scored([0.1, 0.2], ids=("a", "d"))
    with pytest.raises(ValueError, match=r"not of 3 and 2 images with 3 in one .* such as 'b'"):
        paired(one, other, POOLS)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_statistics_that_are_no_numbers_are_refused_with_the_image(wrong):
    with pytest.raises(ValueError, match="statistics of mean are not finite for image '0001'"):
        interval(scored([0.1, wrong]), POOLS)


def test_statistics_that_are_not_there_are_refused():
    one = captions()
    with pytest.raises(ValueError, match=r"no statistics of the metric 'cider'.* mean, ratio"):
        interval(one, {"cider": mean})
    one.statistics["mean"] = one.statistics["mean"][:-1]
    with pytest.raises(ValueError, match=r"\(50 images, k\), got \(49, 2\)"):
        interval(one, POOLS)
