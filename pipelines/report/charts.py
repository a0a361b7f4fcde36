"""Line charts and whiskers as SVG whose colours and fonts come from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ganlib.evaluation.record import Figure
from pipelines.report.facts import Points
from pipelines.report.rounding import number

# On a phone a chart is about as wide as this, so that its text stays as large as it is here.
_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 10, 36
_TICKS = 6
_MOST_POINTS = 300
_MOST_DOTS = 24
_LOG_FROM_RATIO = 20

_WHISKER_WIDTH, _WHISKER_HEIGHT = 160, 44
_PADDING = 6


@dataclass(frozen=True)
class Line:
    """One curve: its name and its points in the order of x; its number in the style sheet, None for its place."""

    name: str
    points: Points
    style: int | None = None


@dataclass(frozen=True)
class Chart:
    """A drawing with the names of its lines and their numbers in the style sheet, and what it says in words."""

    title: str
    keys: tuple[tuple[str, int], ...]
    note: str
    svg: Markup


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> str:
        low, high, here = (math.log10(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return f"{self.start + (here - low) / (high - low) * (self.end - self.start):.1f}"

    @property
    def ticks(self) -> list[float]:
        if self.logarithmic:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = (1, 2, 5) if len(exponents) < _TICKS else (1,)
            return [m * 10.0**e for e in exponents for m in marks if self.low <= m * 10.0**e <= self.high]
        step = _round_step((self.high - self.low) / _TICKS)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def line_chart(title: str, x_label: str, lines: Sequence[Line]) -> Chart | None:
    """Curves over one axis; the other is logarithmic where the figures span far; None where there is no point."""
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    styles = [place if line.style is None else line.style for place, line in enumerate(lines)]
    most = max(len(line.points) for line in lines)
    group = math.ceil(most / _MOST_POINTS)
    drawn = [Line(line.name, _thinned(line.points, group)) for line in lines]
    ys = [y for line in drawn for _, y in line.points]
    xs = [x for line in drawn for x, _ in line.points]
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > _LOG_FROM_RATIO
    across = _Scale(*_room(min(xs), max(xs)), _LEFT, _WIDTH - _RIGHT)
    up = _Scale(*_room(min(ys), max(ys)), _HEIGHT - _BOTTOM, _TOP, logarithmic)
    body = Markup("").join(
        [*_axes(across, up, x_label), *(_curve(*each, across, up) for each in zip(styles, drawn, strict=True))]
    )
    notes = ["Logarithmic scale."] if logarithmic else []
    notes += [f"Each point is the mean of {group} logged ones."] if group > 1 else []
    words = "; ".join(f"{line.name} from {number(line.points[0][1])} to {number(line.points[-1][1])}" for line in lines)
    svg = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, f"{title} over {x_label}: {words}.", body
    )
    return Chart(
        title, tuple((line.name, style) for line, style in zip(drawn, styles, strict=True)), " ".join(notes), svg
    )


def whiskers(own: Figure, other: Figure | None, *, share: bool) -> Markup:
    """Intervals with their estimates, a disc for the own one and a square for the other; a stroke for each value."""
    drawn = [(own, 9, "own")] + ([] if other is None else [(other, 21, "other")])
    marks = [mark for figure, _, _ in drawn for mark in _marked(figure)]
    room = (max(marks) - min(marks)) / 10
    low, high = min(marks) - room, max(marks) + room
    scale = _Scale(
        *_room(*((max(low, 0.0), min(high, 1.0)) if share else (low, high))), _PADDING, _WHISKER_WIDTH - _PADDING
    )
    axis = Markup(
        '<path class="axis" d="M{0} 28v3H{1}v-3"/><text x="{0}" y="42">{2}</text>'
        '<text class="end" x="{1}" y="42">{3}</text>'
    ).format(scale.at(scale.low), scale.at(scale.high), number(scale.low), number(scale.high))
    body = Markup("").join(_whisker(figure, scale, y, kind) for figure, y, kind in drawn)
    return Markup('<svg class="whiskers" viewBox="0 0 {} {}" aria-hidden="true">{}{}</svg>').format(
        _WHISKER_WIDTH, _WHISKER_HEIGHT, axis, body
    )


def _marked(figure: Figure) -> list[float]:
    sure = figure.interval
    return [figure.value] if sure is None else [figure.value, sure.estimate, sure.low, sure.high]


def _whisker(figure: Figure, scale: _Scale, y: int, kind: str) -> Markup:
    found = Markup('<path class="value" d="M{} {}v10"/>').format(scale.at(figure.value), y - 5)
    if figure.interval is not None:
        x = float(scale.at(figure.interval.estimate))
        dot = Markup('<circle cx="{}" cy="{}" r="4"/>').format(x, y)
        if kind == "other":
            dot = Markup('<rect x="{:.1f}" y="{}" width="7" height="7"/>').format(x - 3.5, y - 3.5)
        ends = scale.at(figure.interval.low), y, scale.at(figure.interval.high)
        found += Markup('<path d="M{} {}H{}"/>').format(*ends) + dot
    return Markup('<g class="{}">{}</g>').format(kind, found)


def _axes(across: _Scale, up: _Scale, x_label: str) -> list[Markup]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    found = [
        Markup('<path class="grid" d="M{} {}H{}"/><text class="end" x="{}" y="{}" dy="4">{}</text>').format(
            _LEFT, up.at(tick), right, _LEFT - 6, up.at(tick), _tick(tick)
        )
        for tick in up.ticks
    ]
    found += [
        Markup('<text class="middle" x="{}" y="{}">{}</text>').format(across.at(tick), bottom + 15, _tick(tick))
        for tick in across.ticks
    ]
    found.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(_LEFT, bottom, right))
    label = Markup('<text class="middle" x="{}" y="{}">{}</text>')
    return [*found, label.format((_LEFT + right) // 2, _HEIGHT - 5, x_label)]


def _curve(style: int, line: Line, across: _Scale, up: _Scale) -> Markup:
    places = [(across.at(x), up.at(y)) for x, y in line.points]
    path = Markup('<path class="line line-{}" d="M{}"/>').format(style, "L".join(f"{x} {y}" for x, y in places))
    if len(places) > _MOST_DOTS:
        return path
    dots = (Markup('<circle class="dot dot-{}" cx="{}" cy="{}" r="3"/>').format(style, x, y) for x, y in places)
    return path + Markup("").join(dots)


def _thinned(points: Points, group: int) -> Points:
    """Means of so many neighbours each."""
    groups = [points[start : start + group] for start in range(0, len(points), group)]
    return tuple((sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)) for some in groups)


def _room(low: float, high: float) -> tuple[float, float]:
    """Limits with some width between them."""
    return (low, high) if high > low else (low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)


def _round_step(least: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= least * (1 - 1e-9))


def _tick(value: float) -> str:
    """`128k`, `0.25`."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−") if abs(value) > 1e-12 else "0"
