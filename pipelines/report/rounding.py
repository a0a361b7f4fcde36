"""Figures as people read them: no more digits than the interval warrants."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the record's room loads torch, which a summary has no need of
    from ganlib.evaluation.record import Interval

_MINUS = "−"


def number(value: float, decimals: int | None = None) -> str:
    """With so many decimals, or else three significant digits; thousands are parted."""
    shown = _decimals(abs(value), 3) if decimals is None else decimals
    text = f"{value:,.{shown}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", _MINUS)


def exact(value: float) -> str:
    """As a person would type it: a limit, a margin."""
    return f"{value:g}".replace("-", _MINUS)


def decimals_of(interval: "Interval | None") -> int | None:
    """Decimals that leave two significant digits of the interval's half-width; None where there is no width."""
    if interval is None or not interval.high > interval.low:
        return None
    return _decimals((interval.high - interval.low) / 2, 2)


def span(interval: "Interval") -> str:
    """`1.22 to 1.56`."""
    decimals = decimals_of(interval)
    return f"{number(interval.low, decimals)} to {number(interval.high, decimals)}"


def estimate(interval: "Interval") -> str:
    """`1.38 (1.22 to 1.56)`."""
    return f"{number(interval.estimate, decimals_of(interval))} ({span(interval)})"


def percent(share: float) -> str:
    """`0.43 %`, `99.63 %`, `95 %`: a share of 0 to 1, more exactly near its ends."""
    decimals = _decimals(100 * min(abs(share), abs(1 - share)), 2)
    text = number(100 * share, decimals)
    return f"{text.rstrip('0').rstrip('.') if decimals else text}\N{NO-BREAK SPACE}%"


def percent_span(interval: "Interval") -> str:
    """`0 % to 0.43 %`."""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def probability(value: float) -> str:
    """`p = 0.043`, or `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p = {number(value, 3 if value < 0.1 else 2)}"


def _decimals(size: float, digits: int) -> int:
    """So many that `size` is shown with `digits` significant ones."""
    if size == 0 or not math.isfinite(size):
        return 0
    return max(0, digits - 1 - math.floor(math.log10(size)))
