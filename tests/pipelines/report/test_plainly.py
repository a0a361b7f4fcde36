"""Figures in words."""

import pytest

from ganlib.evaluation.record import Conditions, Copying, Figure, Interval
from pipelines.report.plainly import copies_told, told

CONDITIONS = Conditions(
    extractor="domain", weights_sha256="w", alpha=None, reference="test", reference_digest="r",
    reference_count=500, generated_count=5000, resizer="bicubic",
)  # fmt: skip


def shown(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("value", "interval", "words"),
    [
        (3.1453, (0.9, 0.0, 2.2137), "0.9 (0.0 to 2.2), as papers report it 3.1"),
        (9.828, (9.9082, 9.8932, 9.9239), "9.908 (9.893 to 9.924), as papers report it 9.828"),
        (0.9031, (0.9031, 0.873, 0.927), "0.903 (0.873 to 0.927)"),
        (11.234, None, "11.2"),
    ],
)
def test_a_value_outside_of_its_interval_is_named(
    value: float, interval: tuple[float, float, float] | None, words: str
) -> None:
    sure = None
    if interval is not None:
        sure = Interval(estimate=interval[0], low=interval[1], high=interval[2], level=0.95)
    assert told(Figure(value=value, interval=sure, conditions=CONDITIONS)) == words


@pytest.mark.parametrize(
    ("share", "p_value", "words"),
    [
        ((-0.0033, -0.006, -0.001), 1.0, "no sign of copying: fewer near copies than among held-out images ("),
        ((-0.0033, -0.006, 0.0043), 0.9, "no sign of copying: at most 0.43 % of the images ("),
        ((0.013, 0.011, 0.015), 0.0001, "more than chance explains: 1.3 % of the images, at least 1.1 % ("),
    ],
)
def test_a_share_of_copies_is_never_below_zero(share: tuple[float, float, float], p_value: float, words: str) -> None:
    sure = Interval(estimate=share[0], low=share[1], high=share[2], level=0.95)
    found = Copying(
        p_value=p_value, share=sure, authenticity=sure, held_out_authenticity=0.5, copying=0.0,
        near_duplicates=0, held_out=500, suspects=(),
    )  # fmt: skip
    said = shown(copies_told(found))
    assert said.startswith(words)
    assert not any(sign in said for sign in ("-0", "−"))
