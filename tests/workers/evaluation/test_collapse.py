"""What is a symptom, and what only looks like one beside references of the same kind."""

import pytest

from workers.evaluation.collapse import FEWEST_IMAGES, not_finite, symptoms
from workers.metrics.repetition import repeated
from workers.recipe import Guard

GUARD = Guard()
LOOP = "a dog and a dog and a dog and a dog and a dog and a dog"


def told(captions, references=None, **changes):
    references = references or [(f"a person wrote this {n}",) for n in range(len(captions))]
    return symptoms(captions, references, GUARD.model_copy(update=changes))


def various(count, start=0):
    return [f"image number {n} shows something" for n in range(start, start + count)]


def test_healthy_captions_have_no_symptom():
    assert told(various(120)) == ()
    assert told([]) == ()


def test_one_caption_for_nearly_all_images():
    captions = ["a a"] * 116 + various(4)
    assert told(captions) == ("97 % of 120 images got the same caption 'a a'",)
    assert told(["a  a", "A A"] * 60) == ("100 % of 120 images got the same caption 'a a'",)


@pytest.mark.parametrize(("same", "symptomatic"), [(9, True), (8, False)])
def test_a_threshold_is_the_least_share(same, symptomatic):
    assert bool(told(["a a"] * same + various(10 - same), same_caption=0.9)) == symptomatic


def test_few_images_may_share_a_caption_by_chance():
    assert told(["a a"] * (FEWEST_IMAGES - 1)) == ()
    assert told(["a a"] * FEWEST_IMAGES)


def test_runaway_repetition():
    (symptom,) = told([f"{n} {LOOP}" for n in range(10)])
    assert symptom.startswith("on average 73 % of a caption's 4-grams are repeats, as in '")
    assert told([f"{n} {LOOP}" for n in range(2)] + various(8)) == ()


def test_repetition_counts_beyond_that_of_the_references():
    captions = [f"{n} {LOOP}" for n in range(10)]
    assert told(captions, [(f"{LOOP} {n}",) for n in range(10)]) == ()
    assert told(captions, [(f"a dog {n}",) for n in range(10)])


@pytest.mark.parametrize(
    ("text", "share"),
    [("", 0.0), ("a a", 0.0), ("a b c d e", 0.0), ("a a a a a a", 2 / 3), ("A a a  a a a", 2 / 3)],
)
def test_repeated_is_the_share_of_ngrams_that_stood_before(text, share):
    assert repeated(text) == pytest.approx(share)


def test_empty_output():
    assert told(["", " ", "\n"] * 20 + various(20)) == ("75 % of 80 images got an empty caption",)
    assert told([""] * 4 + various(6)) == ()
    assert told(["", ""]) == ("100 % of 2 images got an empty caption",)


def test_answers_that_are_right_are_no_symptom():
    """Most questions of a set may have one answer, or none."""
    yes_or_no = [("yes",)] * 15 + [("no",)] * 5
    assert told(["yes"] * 20, yes_or_no) == ()
    assert told(["Yes"] * 20, yes_or_no) == ()
    assert told(["maybe"] * 20, yes_or_no) == (
        "100 % of 20 images got the same caption 'maybe'",
    )  # fmt: skip
    unanswered = [("",)] * 15 + [("34 gram",)] * 5
    assert told([""] * 20, unanswered) == ()
    assert told(["34 gram"] * 20, unanswered, same_caption=0.7)
    assert told([""] * 20, [("34 gram",)] * 20)


def test_any_of_an_images_references_excuses_its_caption():
    assert told(["a dog"] * 10, [("a cat", "A dog")] * 10) == ()


@pytest.mark.parametrize(
    ("field", "captions"),
    [
        ("same_caption", ["a a"] * 10),
        ("repetition", [f"{n} {LOOP}" for n in range(10)]),
        ("empty", [""] * 10),
    ],
)
def test_null_switches_a_symptom_off(field, captions):
    assert len(told(captions)) == 1
    assert told(captions, **{field: None}) == ()


def test_several_symptoms_are_all_named():
    assert len(told([LOOP] * 10)) == 2


def test_a_long_caption_is_quoted_in_one_short_line():
    (symptom,) = told(["one\ntwo " + "word" * 100] * 10)
    assert "\n" not in symptom
    assert symptom.endswith("…'")


def test_captions_and_references_belong_together():
    with pytest.raises(ValueError, match="argument"):
        symptoms(["a"], [], GUARD)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_a_symptom(loss):
    assert not_finite("val/loss", loss) == (f"val/loss is {loss}",)
    assert not_finite("val/loss", 2.5) == ()
