"""What the printed links open in MLflow's UI, seen in a browser."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

LINE_OF_RUNGS = """() => [...document.querySelectorAll(".scatterlayer .trace .js-line")]
    .some(line => line.getAttribute("d").split("L").length > 3)"""
"""Whether plotly has drawn a line through at least four points."""


@pytest.fixture
def titles(earlier):
    """The trials' titles, best first, as `sweeps compare` has them."""
    return [trial.title for trial in earlier.board.trials]


def trials_from_top(page):
    """The names of the trials in the table of runs, from top to bottom."""
    names = page.locator("a[href*='/runs/']").filter(has_text=re.compile(r"^trial-\d"))
    found = [(link.bounding_box()["y"], link.inner_text()) for link in names.all()]
    return [name for _, name in sorted(found)]


def cell(page, title, column):
    """The text of a metric of a trial in the table of runs."""
    row = page.locator("[role=row]").filter(has_text=title).get_attribute("row-id")
    place = f"[role=row][row-id='{row}'] [col-id*='{column}']"
    return page.locator(place).first.inner_text()


def test_the_leaderboard_has_the_trials_in_compare_s_order(
    page, links, earlier, titles, screenshots
):
    page.set_viewport_size({"width": 1700, "height": 800})
    page.goto(links.leaderboard)
    page.get_by_role("link", name=titles[0]).wait_for()
    assert trials_from_top(page) == titles
    best = earlier.board.winner.best["cider"]
    assert float(cell(page, titles[0], "best/cider")) == pytest.approx(best, abs=1e-6)
    page.screenshot(path=screenshots / "leaderboard.png")


def test_parallel_coordinates_and_the_curves_of_every_metric_are_drawn(
    page, links, earlier, screenshots
):
    page.set_viewport_size({"width": 1700, "height": 3600})
    page.goto(links.charts)
    axes = page.locator(".parcoords .dimension .label")
    expect(axes).to_have_count(len(earlier.sweep.search.space) + 1)
    assert axes.last.text_content() == "best/cider"
    for metric in [*earlier.sweep.outputs(), "loss"]:
        expect(page.get_by_text(f"val/{metric}", exact=True).first).to_be_visible()
    first = page.locator(".js-plotly-plot").first
    expect(first.locator(".scatterlayer .trace")).not_to_have_count(0)
    picture = page.locator("img[src*='examples'], img[src^='blob:']").first
    expect(picture).to_be_visible()
    page.screenshot(path=screenshots / "charts.png")


def test_the_curves_of_one_trial_are_drawn(page, links, earlier, screenshots):
    runs = links.sweep.partition("?")[0].rpartition("/")[0]
    winner = earlier.run.run_id_of(earlier.board.winner.name)
    page.goto(f"{runs}/{winner}/model-metrics?workflowType=machine_learning")
    section = page.get_by_role("button").filter(has_text=re.compile(r"val\s*\(\d+\)"))
    section.last.scroll_into_view_if_needed()
    for metric in earlier.sweep.outputs():
        expect(page.get_by_text(f"(val/{metric})").first).to_be_visible()
    page.wait_for_function(LINE_OF_RUNGS)
    page.screenshot(path=screenshots / "trial.png")


def test_captions_stand_side_by_side(page, links, earlier, titles, screenshots):
    page.set_viewport_size({"width": 1700, "height": 900})
    page.goto(links.predictions)
    heads = page.get_by_role("columnheader").filter(has_text=re.compile(r"trial-\d"))
    expect(heads.first).to_be_visible()
    assert heads.count() >= 2
    assert titles[0] in heads.first.inner_text()
    expect(page.get_by_text(re.compile("azure|crimson|ebony")).first).to_be_visible()
    page.screenshot(path=screenshots / "captions.png")


def test_the_sweep_s_run_says_who_won_and_leads_on(page, links, earlier, titles, screenshots):
    page.set_viewport_size({"width": 1700, "height": 900})
    page.goto(links.sweep)
    expect(page.get_by_text(re.compile(f"^{re.escape(titles[0])} wins with cider"))).to_be_visible()
    page.screenshot(path=screenshots / "sweep.png")
    page.get_by_role("link", name="leaderboard", exact=True).evaluate(
        "link => { link.target = '_self'; link.click(); }"
    )
    page.get_by_role("link", name=titles[-1]).wait_for()
    assert trials_from_top(page) == titles


def test_report_and_plots_are_shown_among_the_artifacts(page, links, screenshots):
    page.set_viewport_size({"width": 1700, "height": 1000})
    folder, _, query = links.sweep.partition("?")
    page.goto(f"{folder}/artifacts/report.html?{query}")
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name="Leaderboard")).to_be_visible()
    page.screenshot(path=screenshots / "report-in-mlflow.png")
    for plot in ("contour.png", "importance.svg"):
        page.goto("about:blank")  # MLflow does not look at an address that changes behind the #
        page.goto(f"{folder}/artifacts/plots/{plot}?{query}")
        picture = page.get_by_role("img", name=f"plots/{plot}")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") > 100
        page.screenshot(path=screenshots / f"{plot}.png")


def test_the_registry_shows_the_champion(page, links, earlier, screenshots):
    page.set_viewport_size({"width": 1700, "height": 700})
    page.goto(links.model)
    expect(page.get_by_role("link", name="Version 1")).to_be_visible()
    expect(page.get_by_text("champion").first).to_be_visible()
    expect(page.get_by_text(earlier.board.winner.name).first).to_be_visible()
    page.screenshot(path=screenshots / "registry.png")
