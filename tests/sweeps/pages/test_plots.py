"""Every drawing is sound SVG with a mark per trial, for ordinary and for degenerate sweeps."""

import io
import math
from xml.etree import ElementTree

import pytest
from PIL import Image

from sweeps.pages import plots, svg
from sweeps.pages.scales import Choices, Numbers
from sweeps.spec.objectives import Objective

SVG = "{http://www.w3.org/2000/svg}"
POINTS = [
    {"adapter.rank": 2, "train.learning_rate": 1e-3},
    {"adapter.rank": 8, "train.learning_rate": 1e-2},
    {"adapter.rank": 4, "train.learning_rate": 3e-4},
]
MAX = Objective(metric="exact_match")


def read(drawing):
    return ElementTree.fromstring(drawing)


def marks(drawing):
    """Trial -> its tooltip, last drawn (on top) last."""
    found = [each for each in read(drawing).iter(f"{SVG}g") if each.get("class") == "mark"]
    return {each.get("data-trial"): each.find(f"{SVG}title").text for each in found}


def texts(drawing):
    return [each.text for each in read(drawing).iter(f"{SVG}text")]


def ends(drawing):
    """Trial -> height in pixels at which its line ends."""
    found = [each for each in read(drawing).iter(f"{SVG}g") if each.get("class") == "mark"]
    return {
        each.get("data-trial"): float(
            each.find(f"{SVG}polyline").get("points").split()[-1].split(",")[1]
        )
        for each in found
    }


def test_parallel_coordinates_end_higher_for_the_better_and_show_the_best_on_top(facts):
    drawing = plots.parallel_coordinates(facts(POINTS, [0.2, 0.9, 0.5]))
    heights = ends(drawing)
    assert list(marks(drawing)) == ["trial-000", "trial-002", "trial-001"]
    assert heights["trial-001"] < heights["trial-002"] < heights["trial-000"]  # y goes down
    assert {"adapter.rank", "train.learning_rate", "exact_match (max)"} <= set(texts(drawing))


def test_a_trial_that_lacks_a_field_passes_below_its_axis(facts):
    drawing = plots.parallel_coordinates(facts([POINTS[0], {"adapter.rank": 8}], [0.2, 0.9]))
    assert "not set" in texts(drawing)
    assert "train.learning_rate not set" in marks(drawing)["trial-001"]
    assert "not set" not in texts(plots.parallel_coordinates(facts(POINTS, [0.1, 0.2, 0.3])))


def test_trials_without_a_score_are_not_drawn_and_alone_give_no_plot(facts):
    assert list(marks(plots.parallel_coordinates(facts(POINTS[:2], [None, 0.5])))) == ["trial-001"]
    failed = facts(POINTS[:2], [None, None])
    assert plots.parallel_coordinates(failed) is None
    assert plots.artifacts(failed) == {}
    assert plots.curves(failed) == {}


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5], [math.nan, 0.1, 0.3]])
def test_few_equal_or_missing_values_do_no_harm(facts, values):
    made = facts(POINTS[: len(values)], values, importances={"adapter.rank": 0.0})
    assert read(plots.parallel_coordinates(made)) is not None
    assert list(plots.artifacts(made)) == ["contour"]
    assert [read(each).tag for each in plots.curves(made).values()] == [f"{SVG}svg"]


@pytest.fixture
def curves(facts):
    """Return a function: metric, curves of two trials, scores of the base -> their drawing."""

    def draw(key, lines, base):
        return plots.curves(facts(POINTS[:2], [0.9, 0.5], curves={key: lines}, base=base))[key]

    return draw


def test_curves_name_the_last_value_and_show_the_base_as_a_dashed_line(curves):
    lines = {"trial-000": [(1, 0.5), (2, 0.75)], "trial-001": [(1, 0.25)]}
    drawing = curves("val/cider", lines, {"val/cider": 0.1})
    assert marks(drawing)["trial-000"] == "trial-000: 0.7500 at rung 2"
    dashed = [e for e in read(drawing).iter(f"{SVG}polyline") if e.get("stroke-dasharray")]
    assert len(dashed) == 1
    assert "the base before training: 0.1000" in drawing


def test_a_loss_that_exploded_does_not_flatten_the_others(curves):
    lines = {"trial-000": [(1, 3.0), (2, 1.0)], "trial-001": [(1, 3.0), (2, 1e30)]}
    heights = ends(curves("val/loss", lines, {"val/loss": 4.0}))
    assert heights["trial-000"] - heights["trial-001"] > 100  # pixels


def test_a_curve_without_a_number_is_left_out(curves):
    lines = {"trial-000": [(1, math.nan)], "trial-001": [(1, 0.25), (2, math.nan)]}
    assert list(marks(curves("val/cider", lines, {}))) == ["trial-001"]


def test_importance_has_a_bar_as_long_as_the_share(facts):
    shares = {"adapter.rank": 0.75, "train.learning_rate": 0.25}
    drawing = plots.artifacts(facts(POINTS, [0.2, 0.9, 0.5], importances=shares))["importance"]
    widths = [float(each.get("width")) for each in read(drawing).iter(f"{SVG}rect")]
    assert widths[0] == 3 * widths[1]
    assert texts(drawing) == ["adapter.rank", "75.0%", "train.learning_rate", "25.0%"]


def test_the_front_names_its_trials_and_shows_the_others(facts):
    made = facts(POINTS, [0.5, 0.9, 0.4], objective="[{metric: exact_match}, {metric: adapter_mb}]")
    drawing = plots.artifacts(made)["front"]
    assert set(marks(drawing)) == {"trial-000", "trial-001", "trial-002"}
    assert {"000", "001"} <= set(texts(drawing))
    assert "002" not in texts(drawing)
    assert "adapter_mb (min)" in texts(drawing)
    assert marks(drawing)["trial-001"] == "trial-001: exact_match 0.9, adapter_mb 1"


def test_texts_and_names_are_no_markup():
    assert read(svg.label((0, 0), "<b>&")).text == "<b>&"
    assert read(svg.mark('"><script>', "<i>")).get("data-trial") == '"><script>'


def test_the_same_trial_has_the_same_colour_and_only_the_best_have_one():
    colours = svg.colours([f"trial-{number}" for number in range(8)])
    assert list(colours.values())[:5] == list(svg.PALETTE)
    assert set(list(colours.values())[5:]) == {svg.OTHER}


SCALES = {
    "adapter.rank": Choices(title="adapter.rank", values=(2, 4, 8)),
    "train.learning_rate": Numbers(title="train.learning_rate", low=1e-4, high=1e-1, log=True),
    "quantization": Choices(title="quantization", values=("none", "nf4")),
}


def drawn(points, values, scales=SCALES):
    named = {str(number): point for number, point in enumerate(points)}
    return plots.contours(scales, named, dict(zip(named, values, strict=True)), MAX)


def test_contours_are_one_picture_with_a_panel_per_pair():
    words = [{**point, "quantization": "none"} for point in POINTS]
    three, one = (
        Image.open(io.BytesIO(drawn(points, [0.1, 0.9, 0.4]))).width for points in (words, POINTS)
    )
    assert 2.5 * one < three < 3.5 * one


@pytest.fixture
def calls(monkeypatch):
    """The arguments with which a method of matplotlib's axes is called, by its name."""
    from matplotlib.axes import Axes

    found = {"tricontourf": [], "scatter": []}
    for name, seen in found.items():
        original = getattr(Axes, name)

        def spy(self, *args, original=original, seen=seen, **kwargs):
            seen.append((args, kwargs))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Axes, name, spy)
    return found


def test_a_surface_is_drawn_between_numbers_that_span_one_only(calls):
    drawn(POINTS, [0.1, 0.9, 0.4])
    assert len(calls["tricontourf"]) == 1
    on_one_line = [{**point, "train.learning_rate": 1e-2} for point in POINTS]
    drawn(on_one_line, [0.1, 0.9, 0.4])
    drawn(POINTS[:2], [0.1, 0.9])
    words = {"quantization": SCALES["quantization"], "adapter.rank": SCALES["adapter.rank"]}
    stored = zip(POINTS, ["none", "nf4", "none"], strict=True)
    drawn([{**point, "quantization": name} for point, name in stored], [0.1, 0.9, 0.4], words)
    assert len(calls["tricontourf"]) == 1


def test_without_a_pair_of_fields_or_a_trial_there_is_no_contour():
    assert drawn(POINTS, [0.1, 0.9, 0.4], {"adapter.rank": SCALES["adapter.rank"]}) is None
    assert drawn([], []) is None
    assert drawn([{"adapter.rank": 2}], [0.5]) is None


def test_a_dollar_sign_in_a_value_is_no_formula():
    scales = {**SCALES, "quantization": Choices(title="$\\frac", values=("$\\frac$", "$"))}
    points = [{"adapter.rank": 2, "$\\frac": "$\\frac$"}, {"adapter.rank": 4, "$\\frac": "$"}]
    assert drawn(points, [0.1, 0.9], {k: scales[k] for k in ("adapter.rank", "quantization")})


def test_of_several_trials_at_one_place_the_best_counts(calls):
    drawn([POINTS[0], POINTS[0]], [0.9, 0.2])
    ((_, shown),) = calls["scatter"]
    assert shown["c"] == [0.9]
