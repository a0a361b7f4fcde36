"""Drawings are where the figures say."""

import re
from itertools import pairwise

import pytest

from ganlib.evaluation.record import Figure
from pipelines.report.charts import Chart, Line, line_chart, whiskers
from tests.html_pages import read_html
from tests.report_project import CONDITIONS, interval

CLOCK = tuple(float(i) for i in range(1, 11))


def places(chart: Chart, index: int) -> list[tuple[float, float]]:
    (path,) = (
        each.attributes["d"] for each in read_html(chart.svg).all("path") if f"line-{index}" in each.attributes["class"]
    )
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def chart_of(*lines: Line) -> Chart:
    found = line_chart("Title", "images shown", lines)
    assert found is not None
    return found


def test_a_straight_line_is_straight_and_rises() -> None:
    drawn = places(chart_of(Line("a", tuple((x, 3 * x) for x in CLOCK))), 0)
    across = {round(b[0] - a[0], 0) for a, b in pairwise(drawn)}
    up = {round(a[1] - b[1], 0) for a, b in pairwise(drawn)}
    assert len(across) == len(up) == 1
    assert up.pop() > 0


def test_two_lines_share_one_scale() -> None:
    chart = chart_of(Line("low", tuple((x, 1.0) for x in CLOCK)), Line("high", tuple((x, 2.0) for x in CLOCK)))
    assert chart.keys == (("low", 0), ("high", 1))
    assert {y for _, y in places(chart, 0)} != {y for _, y in places(chart, 1)}
    assert (
        "low from 1.00 to 1.00; high from 2.00 to 2.00" in read_html(chart.svg).all("svg")[0].attributes["aria-label"]
    )


def test_figures_that_span_far_are_drawn_on_a_logarithmic_scale() -> None:
    chart = chart_of(Line("fid", tuple((x, 10.0**-x) for x in CLOCK)))
    assert chart.note == "Logarithmic scale."
    steps = [round(b[1] - a[1], 0) for a, b in pairwise(places(chart, 0))]
    assert len(set(steps)) == 1
    assert chart_of(Line("kid", tuple((x, x - 5.0) for x in CLOCK))).note == ""


def test_long_logs_become_means_and_say_so() -> None:
    chart = chart_of(Line("loss", tuple((float(i), float(i % 2)) for i in range(3000))))
    assert chart.note == "Each point is the mean of 10 logged ones."
    assert len(places(chart, 0)) == 300
    assert len({y for _, y in places(chart, 0)}) == 1


@pytest.mark.parametrize("points", [((5.0, 0.0),), ((5.0, 2.0), (6.0, 2.0))])
def test_one_point_or_a_constant_can_be_drawn(points: tuple[tuple[float, float], ...]) -> None:
    assert len(places(chart_of(Line("a", points)), 0)) == len(points)


def test_nothing_to_draw_is_no_chart() -> None:
    assert line_chart("Title", "images shown", [Line("a", ())]) is None


def test_whiskers_of_two() -> None:
    own = Figure(value=2.0, interval=interval(1.0, 0.5), conditions=CONDITIONS)
    other = Figure(value=3.0, interval=interval(2.5, 0.5), conditions=CONDITIONS)
    root = read_html(whiskers(own, other, share=False))
    (disc,), (square,) = root.all("circle"), root.all("rect")
    assert float(disc.attributes["cx"]) < float(square.attributes["x"])
    lines = [each.attributes["d"] for each in root.all("path") if "class" not in each.attributes]
    low, high = (float(end) for end in re.findall(r"M([\d.]+) 9H([\d.]+)", lines[0])[0])
    assert float(disc.attributes["cx"]) == pytest.approx((low + high) / 2, abs=0.1)
    assert [each.text for each in root.all("text")] == ["0.250", "3.25"]


def test_an_estimate_outside_its_interval_is_drawn_on_the_axis() -> None:
    low = interval(0.5, 0.5).model_copy(update={"estimate": -0.4})
    root = read_html(whiskers(Figure(value=3.0, interval=low, conditions=CONDITIONS), None, share=False))
    (disc,) = root.all("circle")
    start, end = (float(each.attributes["x"]) for each in root.all("text"))
    assert start < float(disc.attributes["cx"]) < end


def test_a_share_stays_between_0_and_1_and_a_figure_without_interval_is_a_stroke() -> None:
    own = Figure(value=0.999, interval=interval(0.99, 0.01), conditions=CONDITIONS)
    assert [each.text for each in read_html(whiskers(own, None, share=True)).all("text")] == ["0.978", "1.00"]
    bare = read_html(whiskers(Figure(value=3.0, interval=None, conditions=CONDITIONS), None, share=False))
    assert bare.all("circle") == []
    assert "value" in {each.attributes.get("class") for each in bare.all("path")}
