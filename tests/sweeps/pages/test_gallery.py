from pathlib import Path

import pytest

from sweeps.board.leaderboard import Leaderboard
from sweeps.pages.gallery import PER_GROUP, CaptionedTrial, choose, metric_of
from sweeps.results.pictures import ScoredImages
from sweeps.spec.objectives import Objective
from workers.report import Prediction

IDS = [f"image-{number}" for number in range(12)]
NONE = ScoredImages()


def captioned(number, scores=None):
    captions = {
        id: Prediction(image_id=id, caption=f"{number} says {id}", references=("ref",))
        for id in IDS
    }
    name = f"trial-{number:03d}"
    return CaptionedTrial(
        trial=name, captions=captions,
        scores=dict(zip(IDS, scores, strict=True)) if scores else {},
    )  # fmt: skip


WINNER = captioned(0, [1, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.5])
RIVAL = captioned(1, [0, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])


def ids(made):
    return {heading: [each.id for each in group] for heading, group in made.groups.items()}


def test_first_what_the_winner_gains_then_what_it_loses_then_its_worst():
    gains, loses, worst = ids(choose([WINNER, RIVAL], NONE, "exact_match")).items()
    assert gains == ("Where trial-000 gains most over trial-001", ["image-0"])
    assert loses == ("Where it loses most against trial-001", ["image-1", "image-10"])
    assert worst == ("Worst captions of trial-000", IDS[2 : 2 + PER_GROUP])


def test_where_less_is_better_the_roles_are_exchanged():
    made = ids(choose([WINNER, RIVAL], NONE, "word_error_rate", higher=False))
    assert list(made.values())[:2] == [["image-1", "image-10"], ["image-0"]]


def test_a_picture_has_all_captions_and_the_base_s():
    kept = ScoredImages(questions={"image-0": "what?"}, untrained={"image-0": ""})
    picture = choose([WINNER, RIVAL], kept, "exact_match").groups[
        "Where trial-000 gains most over trial-001"
    ][0]
    assert picture.captions == (
        ("trial-000", "0 says image-0", 1), ("trial-001", "1 says image-0", 0),
    )  # fmt: skip
    assert (picture.question, picture.untrained, picture.references) == ("what?", "", ("ref",))


def test_only_images_with_a_picture_are_chosen_while_there_are_any():
    kept = ScoredImages(pictures={id: Path(id) for id in IDS[4:7]})
    made = choose([WINNER, RIVAL], kept, "exact_match")
    assert [id for group in ids(made).values() for id in group] == IDS[4:7]


def test_one_trial_alone_shows_its_worst_and_best():
    made = ids(choose([WINNER], NONE, "exact_match"))
    assert [group[0] for group in made.values()] == ["image-1", "image-0"]


def test_without_scores_the_first_images_are_shown_and_without_trials_none():
    made = choose([captioned(0)], NONE, None)
    assert (ids(made), made.metric) == ({"The first images": IDS[:PER_GROUP]}, None)
    assert choose([], NONE, "cider").groups == {}


@pytest.mark.parametrize(
    ("objective", "outputs", "metric"),
    [("cider", ["bleu_1", "cider"], "cider"), ("loss", ["bleu_1", "cider"], "bleu_1"),
     ("loss", [], None)],
)  # fmt: skip
def test_single_captions_are_judged_by_the_objective_if_it_is_a_score(objective, outputs, metric):
    board = Leaderboard.of("s", (Objective(metric=objective, mode="max"),), [])
    assert metric_of(board, outputs) == metric
