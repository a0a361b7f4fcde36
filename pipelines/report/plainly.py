"""Figures in words: what is estimated with its interval first, then the value as papers report it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.report.rounding import decimals_of, estimate, number, percent, percent_span, probability

if TYPE_CHECKING:
    from ganlib.evaluation.record import Copying, Figure, Interval, Way


def told(figure: "Figure") -> str:
    """`1.38 (1.22 to 1.56), as papers report it 1.71`; only what there is, and no number twice."""
    sure, decimals = figure.interval, decimals_of(figure.interval)
    reported = number(figure.value, decimals)
    if sure is None:
        return reported
    same = reported == number(sure.estimate, decimals)
    return estimate(sure) if same else f"{estimate(sure)}, as papers report it {reported}"


def copies_found(found: "Copying") -> bool:
    """Whether more generated images are near copies of training images than chance explains."""
    return found.blind is None and found.p_value < 1 - found.share.level


def copies_told(found: "Copying") -> str:
    """Whether the training images come back, and how many at most or at least; a share is never below 0."""
    if found.blind is not None:
        return found.blind
    sure, level = found.share, percent(found.share.level)
    how_sure = f"with {level} confidence, {probability(found.p_value)}"
    if copies_found(found):
        return (
            f"more than chance explains: {percent(max(sure.estimate, 0.0))} of the images, at least "
            f"{percent(max(sure.low, 0.0))} ({how_sure})"
        )
    if sure.high <= 0:
        return f"no sign of copying: fewer near copies than among held-out images ({how_sure})"
    return f"no sign of copying: at most {percent(sure.high)} of the images ({how_sure})"


def way_rows(ways: "Sequence[Way]") -> list[tuple[str, list[str]]]:
    """A row for each figure of each kind that is made: what it is, and a text a kind; `–` where nothing is known."""

    def shares(found: "Interval | None") -> str:
        return "–" if found is None else f"{percent(found.estimate)} ({percent_span(found)})"

    rows = [
        ("FID of translations", [number(way.fid) for way in ways]),
        ("FID of the inputs as they were given", [number(way.input_fid) for way in ways]),
        ("Class agreement of translations", [shares(way.agreement) for way in ways]),
        ("Class agreement of the inputs as they were given", [shares(way.input_agreement) for way in ways]),
        ("Style agreement of translations", [shares(way.style_agreement) for way in ways]),
        ("Style agreement of held-out images in the style", [shares(way.real_style_agreement) for way in ways]),
        ("PSNR there and back (dB)", [estimate(way.cycle_psnr) for way in ways]),
        ("Mean absolute error there and back, of the range", [estimate(way.cycle_error) for way in ways]),
        ("Class agreement there and back", [shares(way.cycle_agreement) for way in ways]),
    ]
    return [(name, texts) for name, texts in rows if set(texts) - {"–"}]
