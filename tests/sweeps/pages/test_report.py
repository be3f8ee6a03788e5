"""The report's HTML: all that belongs in, nothing that loads from outside, nothing unescaped."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from sweeps.board.leaderboard import Standing
from sweeps.pages.gallery import Gallery, Picture
from sweeps.pages.report import render
from sweeps.pages.summary import headline, sentences
from sweeps.results.pictures import ScoredImages

POINTS = [
    {"adapter.rank": 2, "train.learning_rate": 1e-3},
    {"adapter.rank": 8, "train.learning_rate": 1e-2},
]
HOSTILE = "<script>alert(1)</script>\"' & {{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags with their attributes, and the cells of each row of the leaderboard."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.text, self._cell = [], [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th", "span", "button", "wbr") and bool(self.rows)
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self._cell and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(facts, addresses):
    def make(points, values, kept=None, **changes):
        return render(facts(points, values, **changes), addresses, kept or ScoredImages())

    return make


def test_the_leaderboard_has_a_row_per_trial_best_first_with_scores_and_fields(page):
    rows = Page(page(POINTS, [0.25, 0.75])).rows
    assert rows[0] == [
        "trial", "state", "exact_match", "loss", "rung", "adapter.rank", "train.learning_rate",
    ]  # fmt: skip
    assert rows[1] == ["trial-001", "completed", "0.7500", "1.0000", "2", "8", "0.01"]
    assert rows[2][0] == "trial-000"


def test_cells_are_sorted_by_their_whole_value(page):
    cells = Page(page(POINTS, [0.123456, 0.123457])).all("td")
    assert {"0.123456", "0.123457"} <= {cell.get("data-value") for cell in cells}


def test_every_section_is_there(page):
    made = page(POINTS, [0.25, 0.75], importances={"adapter.rank": 1.0})
    sections = [each["id"] for each in Page(made).all("section")]
    assert sections == ["leaderboard", "search", "lessons", "curves", "origin"]
    assert "log_uniform" in made  # the sweep file
    assert "tiny:shapes" in made
    assert "30 min" in made  # the cost


@pytest.mark.parametrize(
    ("points", "values", "changes"),
    [
        ([], [], {"state": "running"}),
        (POINTS[:1], [0.5], {}),
        (POINTS, [None, None], {"state": "failed"}),
        (POINTS, [0.5, 0.5], {"importances": {"adapter.rank": 0.0, "train.learning_rate": 0.0}}),
        ([{"adapter.rank": 2}, {"adapter.rank": 4}], [0.5, 0.1],
         {"space": "{adapter.rank: {choice: [2, 4]}}", "importances": {"adapter.rank": 1.0}}),
        ([{"quantization": "none"}, {"quantization": "nf4"}], [0.5, 0.1],
         {"space": "{quantization: {choice: [none, nf4]}, adapter.rank: "
                   "{choice: [2, 4], when: {quantization: nf4}}}"}),
        (POINTS, [float("nan"), 0.5], {}),
    ],
    ids=["none", "one", "failed", "constant", "one field", "words and conditional", "nan"],
)  # fmt: skip
def test_degenerate_sweeps_have_a_report(page, points, values, changes):
    made = Page(page(points, values, **changes))
    assert len([row for row in made.rows if row and row[0].startswith("trial-")]) == len(points)


def test_nothing_is_loaded_from_outside(page):
    made = page(POINTS, [0.25, 0.75], importances={"adapter.rank": 1.0})
    tags = Page(made)
    assert not tags.all("link")
    assert not tags.all("iframe")
    assert all(each["src"].startswith("data:image/") for each in tags.all("img"))
    assert all("src" not in each for each in tags.all("script"))
    assert not re.search(r"url\(|@import", made)
    (policy,) = [each["content"] for each in tags.all("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'")


def test_texts_of_others_are_shown_and_not_run(page, facts):
    picture = Picture(
        id=HOSTILE, question=HOSTILE, references=(HOSTILE,), untrained=HOSTILE,
        captions=(("trial-000", HOSTILE, 0.5),),
    )  # fmt: skip
    board = facts(POINTS, [0.25, 0.75]).board
    hostile = {"point": {"x": HOSTILE}, "state": "failed-by-guard", "reason": HOSTILE}
    board = replace(
        board,
        trials=tuple(replace(each, **hostile) for each in board.trials),
        notes=(HOSTILE,),
    )
    made = page(
        [{**POINTS[0], "adapter.rank": HOSTILE}, POINTS[1]], [0.25, 0.75],
        board=board, text=HOSTILE, origin={HOSTILE: HOSTILE},
        gallery=Gallery(metric="exact_match", groups={HOSTILE: (picture,)}),
        curves={f"val/{HOSTILE}": {"trial-000": [(1, 0.5)]}},
    )  # fmt: skip
    read = Page(made)
    assert len(read.all("script")) == 1
    assert read.text.count(HOSTILE) >= 14  # wherever it was put


def test_pictures_are_embedded_with_a_text_for_those_who_cannot_see_them(page, tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "0.jpg")
    picture = Picture(
        id="image-0", question=None, references=("a <red> square",), untrained=None,
        captions=(("trial-000", "", None),),
    )  # fmt: skip
    made = page(
        POINTS, [0.25, 0.75], ScoredImages(pictures={"image-0": tmp_path / "0.jpg"}),
        gallery=Gallery(metric=None, groups={"The first images": (picture,)}),
    )  # fmt: skip
    shown = [each for each in Page(made).all("img") if each["src"].startswith("data:image/jpeg")]
    assert [each["alt"] for each in shown] == ["a <red> square"]
    assert "(empty)" in made


def test_a_sweep_of_300_trials_stays_small(page):
    points = [{"adapter.rank": 2, "train.learning_rate": 1e-4 * (1 + n)} for n in range(300)]
    lines = {
        f"trial-{n:03d}": [(rung, n / 300 * rung / 10) for rung in range(1, 11)] for n in range(300)
    }
    curves = {f"val/metric_{each}": lines for each in range(9)}
    values = [n / 300 for n in range(300)]
    assert len(page(points, values, curves=curves).encode()) < 3e6


def test_the_headline_names_the_winner_its_interval_and_the_base(facts):
    made = facts(POINTS, [0.25, 0.75])
    assert headline(made) == (
        "trial-001 r1 wins with exact_match 0.7500; the base before training 0.0100"
    )
    sure = {"trial-001": Standing(low=0.7, high=0.8, vs_best="best")}
    board = replace(made.board, standings=sure, images=9, zero_shot=None)
    assert headline(replace(made, board=board)) == (
        "trial-001 r1 wins with exact_match 0.7500 (95 % interval 0.7000 to 0.8000)"
    )
    assert sentences(board)[0].startswith("not significantly different from trial-001 on these 9 ")


def test_the_headline_names_the_state_of_a_sweep_that_did_not_complete(facts):
    running = facts(POINTS, [0.25, 0.75], state="running")
    assert headline(running).startswith("trial-001 r1 leads with")
    assert headline(running).endswith("(the sweep still runs)")
    failed = facts(POINTS, [None, None], state="failed")
    assert headline(failed) == "no trial has a score (the sweep failed)"


def test_the_report_s_own_files_travel_with_it():
    folder = Path(__import__("sweeps.pages", fromlist=["pages"]).__file__).parent / "templates"
    assert {path.name for path in folder.iterdir()} == {
        "report.html.jinja", "report.css", "report.js",
    }  # fmt: skip
