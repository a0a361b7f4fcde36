import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gate import decide

scores = st.floats(-100, 100)
margins = st.floats(0, 10)


@pytest.mark.parametrize(
    ("metric", "challenger", "champion", "margin", "promoted"),
    [
        ("domain/fid", 1.0, None, 0.05, True),
        ("domain/fid", 1.0, 2.0, 0.05, True),
        ("domain/fid", 2.0, 1.0, 0.05, False),
        ("domain/fid", 1.0, 1.0, 0.0, False),
        ("domain/fid", 0.75, 1.0, 0.25, False),
        ("domain/fid", 0.74, 1.0, 0.25, True),
        ("inception/kid", -0.1, 0.1, 0.1, True),
        ("domain/coverage", 0.9, 0.8, 0.05, True),
        ("domain/coverage", 0.8, 0.9, 0.05, False),
        ("inception/is", 8.0, 7.0, 1.0, False),
        ("domain/fid", math.nan, None, 0.05, False),
        ("domain/fid", math.nan, 1.0, 0.05, False),
        ("domain/fid", -math.inf, 1.0, 0.05, False),
        ("domain/is", math.inf, 1.0, 0.05, False),
        ("domain/fid", 1.0, math.nan, 0.05, True),
    ],
)
def test_table(metric: str, challenger: float, champion: float | None, margin: float, promoted: bool) -> None:
    assert decide(metric=metric, challenger=challenger, champion=champion, margin=margin).promoted is promoted


@given(scores, scores, margins)
def test_never_do_both_beat_each_other(one: float, other: float, margin: float) -> None:
    verdicts = [
        decide(metric="domain/fid", challenger=a, champion=b, margin=margin) for a, b in ((one, other), (other, one))
    ]
    assert sum(verdict.promoted for verdict in verdicts) <= 1


@given(scores, scores, margins)
def test_higher_is_better_mirrors_lower_is_better(one: float, other: float, margin: float) -> None:
    lower = decide(metric="domain/fid", challenger=one, champion=other, margin=margin)
    higher = decide(metric="domain/recall", challenger=-one, champion=-other, margin=margin)
    assert lower.promoted == higher.promoted


def test_reason_is_one_sentence_with_both_scores_and_the_margin() -> None:
    reason = decide(metric="domain/fid", challenger=3.25, champion=3.5, margin=0.125).reason
    assert all(part in reason for part in ("domain/fid", "3.25", "3.5", "0.125"))
    assert reason.endswith(".")
    assert "\n" not in reason
