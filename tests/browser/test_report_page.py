"""The report, opened from disk in a browser."""

import io

import pytest
from playwright.sync_api import expect
from rich.console import Console

from sweeps.cli.board import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report("quickstart-1", out, results, Console(file=io.StringIO()))
    return out


@pytest.fixture
def opened(page, report):
    """The page with the report; afterwards there was no error and nothing was fetched."""
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.set_viewport_size({"width": 1200, "height": 900})
    page.goto(report.as_uri())
    yield page
    assert errors == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]


def first_cells(page):
    return page.locator("#leaderboard tbody th").all_inner_texts()


def test_the_leaderboard_is_in_compare_s_order_until_a_heading_sorts_it(opened, earlier):
    names = [trial.name for trial in earlier.board.trials]
    assert first_cells(opened) == names
    opened.get_by_role("button", name="trial", exact=True).click()
    assert first_cells(opened) == sorted(names)
    opened.get_by_role("button", name="trial", exact=True).click()
    assert first_cells(opened) == sorted(names, reverse=True)
    opened.get_by_role("button", name="cider", exact=True).click()
    scored = [trial for trial in earlier.board.trials if "cider" in trial.best]
    expected = [trial.name for trial in sorted(scored, key=lambda each: each.best["cider"])]
    assert first_cells(opened)[: len(scored)] == expected  # those without a score stay last
    heading = opened.get_by_role("columnheader", name="cider", exact=True)
    expect(heading).to_have_attribute("aria-sort", "ascending")


def test_every_picture_loads(opened):
    pictures = opened.locator("img")
    assert pictures.count() > 4
    broken = pictures.evaluate_all("images => images.filter(i => !i.naturalWidth).length")
    assert broken == 0


def test_a_click_on_a_row_lights_up_the_trial_in_every_plot(opened, earlier):
    trial = earlier.board.winner.name
    opened.locator(f"tr[data-trial={trial}]").click()
    opened.mouse.move(1, 1)
    lit = opened.locator(f"svg [data-trial={trial}].lit")
    assert lit.count() == 1 + opened.locator(".curve").count()
    assert opened.locator(f"svg .lit:not([data-trial={trial}])").count() == 0
    opened.locator(f"tr[data-trial={trial}]").click()
    opened.mouse.move(1, 1)
    assert opened.locator(".lit").count() == 0


@pytest.mark.parametrize(
    ("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")], ids=str
)
def test_it_fits_wide_and_narrow_screens_in_both_colours(opened, screenshots, width, scheme):
    opened.emulate_media(color_scheme=scheme)
    opened.set_viewport_size({"width": width, "height": 900})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.screenshot(path=screenshots / f"report-{width}-{scheme}.png", full_page=True)


def test_on_paper_it_is_whole(opened, screenshots):
    pages = opened.pdf(path=screenshots / "report.pdf", format="A4")
    assert len(pages) > 50_000  # bytes
