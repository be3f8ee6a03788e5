"""Which images are scored, and how that is told apart."""

from types import SimpleNamespace

from workers.evaluation.scoring import digest_of_ids, scored_samples

SAMPLES = [SimpleNamespace(id=f"{n}.png") for n in range(40)]


def ids(samples):
    return [sample.id for sample in samples]


def test_a_limit_keeps_the_same_images_when_others_come_or_go():
    kept = ids(scored_samples(SAMPLES, 10))
    assert len(kept) == 10
    assert kept == [name for name in ids(SAMPLES) if name in kept]
    fewer = [sample for sample in SAMPLES if sample.id in kept or sample.id.startswith("1")]
    assert ids(scored_samples(fewer, 10)) == kept
    assert scored_samples(SAMPLES, None) == scored_samples(SAMPLES, 99) == tuple(SAMPLES)


def test_the_digest_tells_sets_of_images_apart():
    digests = {
        digest_of_ids(names)
        for names in (["a", "b"], ["b", "a"], ["a"], ["ab"], ["a\nb"], [], ["a", "b", "c"])
    }
    assert len(digests) == 7
    assert digest_of_ids(["a", "b"]) == digest_of_ids(name for name in "ab")


def test_the_digest_is_the_same_in_every_process():
    expected = "1d6c62b16387db10cc52639bf304d1905a99b2e0733907f789bce74debf11b6a"
    assert digest_of_ids(["1.png", "ä.png"]) == expected
