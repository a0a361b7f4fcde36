"""The decision, from comparisons whose outcome is known."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib.config import GuardOptions
from ganlib.errors import UserError
from ganlib.evaluation.comparison import Compared, Comparison, Unseen
from ganlib.evaluation.record import Evaluation, Interval
from ganlib.metrics import estimates
from pipelines.registry.gate import Opponent, decide
from pipelines.registry.verdict import Verdict, table_from_tag
from tests.registered import compared, comparison, evaluation_of, gate_options, make_generator

OFF = GuardOptions(coverage_drop=None, label_fidelity_drop=None, worst_class_rise=None, memorised_share=None)
figures = st.floats(0, 100)
halves = st.floats(0, 10)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluation_of(make_generator(tmp_path_factory.mktemp("generator"), 1), 3.0)


def judged(
    evaluation: Evaluation,
    found: Comparison,
    *,
    margin: float = 0.05,
    metric: str = "domain/fid",
    guards: GuardOptions | None = None,
) -> Verdict:
    options = gate_options(metric=metric, margin=margin)
    if guards is not None:
        options = options.model_copy(update={"guards": guards})
    renamed = evaluation.model_copy(update={"metrics": {metric: next(iter(evaluation.metrics.values()))}})
    return decide(options, renamed, Opponent("7", found, remeasured=False))


@pytest.mark.parametrize(
    ("metric", "challenger", "champion", "half", "margin", "promoted", "words"),
    [
        ("domain/fid", 1.0, 2.0, 0.5, 0.05, True, "surely better than version 7 by more than the margin of 0.05."),
        (
            "domain/fid",
            1.0,
            2.0,
            0.97,
            0.05,
            False,
            "surely better than version 7, but not surely by more than the margin of 0.05.",
        ),
        ("domain/fid", 1.0, 2.0, 1.5, 0.05, False, "not surely better than version 7."),
        ("domain/fid", 1.5, 1.0, 1.0, 0.0, False, "not surely better than version 7."),
        ("domain/fid", 2.0, 1.0, 0.5, 0.05, False, "surely worse than version 7."),
        ("domain/fid", 1.0, 1.0, 0.0, 0.0, False, "not surely better than version 7."),
        (
            "domain/fid",
            0.75,
            1.0,
            0.0,
            0.25,
            False,
            "surely better than version 7, but not surely by more than the margin of 0.25.",
        ),
        ("domain/fid", 0.74, 1.0, 0.0, 0.25, True, "surely better than version 7 by more than the margin of 0.25."),
        ("inception/kid", -0.1, 0.1, 0.05, 0.1, True, "surely better than version 7 by more than the margin of 0.1."),
        (
            "domain/coverage",
            0.9,
            0.8,
            0.04,
            0.05,
            True,
            "surely better than version 7 by more than the margin of 0.05.",
        ),
        ("domain/coverage", 0.8, 0.9, 0.04, 0.05, False, "surely worse than version 7."),
        (
            "inception/is",
            8.0,
            7.0,
            0.5,
            1.0,
            False,
            "surely better than version 7, but not surely by more than the margin of 1.",
        ),
    ],
)
def test_the_metric(
    metric: str,
    challenger: float,
    champion: float,
    half: float,
    margin: float,
    promoted: bool,
    words: str,
    evaluation: Evaluation,
) -> None:
    found = judged(evaluation, comparison(compared(challenger, champion, half)), margin=margin, metric=metric)
    assert (found.promoted, found.table[0].passed) == (promoted, promoted)
    assert found.reason == f"{'Promoted' if promoted else 'Not promoted'}: {words}"


@given(figures, figures, halves, st.floats(0, 10))
def test_never_do_both_beat_each_other(
    evaluation: Evaluation, one: float, other: float, half: float, margin: float
) -> None:
    found = [
        judged(evaluation, comparison(compared(a, b, half)), margin=margin, guards=OFF).promoted
        for a, b in ((one, other), (other, one))
    ]
    assert sum(found) <= 1


@given(figures, figures, halves)
def test_higher_is_better_mirrors_lower_is_better(
    evaluation: Evaluation, one: float, other: float, half: float
) -> None:
    lower = judged(evaluation, comparison(compared(one, other, half)), guards=OFF)
    higher = judged(evaluation, comparison(compared(-one, -other, half)), guards=OFF, metric="domain/recall")
    assert lower.promoted == higher.promoted
    assert lower.table[0].note == higher.table[0].note


WON = compared(1.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("guard", "found", "passed", "words"),
    [
        ("coverage", compared(0.90, 0.92, 0.001), True, "within the limit of -0.03"),
        ("coverage", compared(0.88, 0.92, 0.01), False, "past the limit of -0.03"),
        ("coverage", compared(0.88, 0.92, 0.05), True, "past the limit of -0.03, but it may be chance"),
        ("coverage", compared(0.99, 0.92, 0.01), True, "within the limit of -0.03"),
        ("label_fidelity", compared(0.97, 0.99, 0.005), False, "past the limit of -0.01"),
        ("worst_class", compared(6.0, 4.0, 1.0, "two"), False, "past the limit of 1"),
        ("worst_class", compared(6.0, 4.0, 3.0, "two"), True, "past the limit of 1, but it may be chance"),
        ("worst_class", compared(2.0, 4.0, 1.0, "two"), True, "within the limit of 1"),
        ("label_fidelity", Unseen("needs labels", lost=False), None, "not checked (needs labels)"),
        ("label_fidelity", Unseen("no classes", lost=True), False, "lost: no classes"),
    ],
)
def test_guards(guard: str, found: Compared | Unseen, passed: bool | None, words: str, evaluation: Evaluation) -> None:
    verdict = judged(evaluation, comparison(WON, **{guard: found}))
    row = next(row for row in verdict.table if row.name.startswith(guard.replace("_", " ")))
    assert (row.passed, row.note) == (passed, words)
    assert verdict.promoted is (passed is not False)
    assert (f"but stopped by the guards: {row.name}." in verdict.reason) is (passed is False)


def test_a_guard_with_a_limit_of_zero_stops_only_what_is_surely_worse(evaluation: Evaluation) -> None:
    strict = OFF.model_copy(update={"coverage_drop": 0.0})
    for half, promoted in ((0.01, False), (0.03, True)):
        found = judged(evaluation, comparison(WON, coverage=compared(0.88, 0.9, half)), guards=strict)
        assert found.promoted is promoted
        assert [row.name for row in found.table] == ["domain/fid", "coverage"]


def test_near_copies_stop_even_a_first_champion(tmp_path: Path) -> None:
    folder, options = make_generator(tmp_path, 1), gate_options()
    for estimate, p_value, promoted, note in (
        (0.009, 0.001, True, "within the limit of 0.01, p = 0.001"),
        (0.02, 0.06, True, "past the limit of 0.01, but it may be chance, p = 0.06"),
        (0.02, 0.04, False, "past the limit of 0.01, p = 0.04"),
    ):
        share = Interval(estimate=estimate, low=0.001, high=0.04, level=0.95)
        measured = evaluation_of(folder, 3.0, copies=share, p_value=p_value)
        found = decide(options, measured, None)
        assert (found.promoted, found.table[1].passed) == (promoted, promoted)
        assert found.table[1].note == note
        opening = "there is no champion to compare with"
        stopped = "" if promoted else ", but stopped by the guards: near copies by features"
        assert found.reason == f"{'Promoted' if promoted else 'Not promoted'}: {opening}{stopped}."
        won = decide(options, measured, Opponent("7", comparison(WON), False))
        assert won.promoted is promoted
    left_out = evaluation_of(folder, 3.0).model_copy(update={"skipped": {"memorisation": "too few images"}})
    found = decide(options, left_out, None)
    assert found.promoted
    assert (found.table[1].passed, found.table[1].note) == (None, "not checked (too few images)")


@pytest.mark.parametrize(("near_duplicates", "left_out"), [(250, False), (251, True), (500, True)])
def test_copies_that_cannot_be_told_leave_the_guard_out_with_the_count(
    tmp_path: Path, near_duplicates: int, left_out: bool
) -> None:
    """Whatever the figures say: most held-out images, which they are measured by, are near copies themselves."""
    share = Interval(estimate=0.02, low=0.001, high=0.04, level=0.95)
    measured = evaluation_of(
        make_generator(tmp_path, 1), 3.0, copies=share, p_value=0.001, near_duplicates=near_duplicates
    )
    found = decide(gate_options(), measured, None)
    assert found.promoted is left_out
    row = found.table[1]
    assert (row.name, row.passed) == ("near copies by features", None if left_out else False)
    why = f"not checked ({near_duplicates} of 500 held-out images have a near duplicate in the training set"
    assert row.note.startswith(why) is left_out


def test_what_was_not_measured_is_one_line(evaluation: Evaluation) -> None:
    options = gate_options(metric="inception/fid")
    with pytest.raises(UserError, match=r"^register\.metric=inception/fid: not in .*found: domain/fid; evaluate again"):
        decide(options, evaluation, None)
    skipped = evaluation.model_copy(update={"skipped": {"inception/fid": "fid: too few images"}})
    with pytest.raises(UserError, match=r"not in reports/evaluation\.json \(fid: too few images\)"):
        decide(options, skipped, None)


def test_the_decision_is_one_sentence_and_the_table_has_the_figures(tmp_path: Path) -> None:
    share = Interval(estimate=-0.0021, low=-0.0043, high=0.0011, level=0.95)
    measured = evaluation_of(make_generator(tmp_path, 1), 3.125, copies=share)
    apart = estimates.Interval(-0.472, -0.625, -0.319, 0.9)
    found = comparison(
        Compared(3.125, 3.591, apart), label_fidelity=Unseen("needs a conditional generator", lost=False)
    )
    verdict = decide(gate_options(), measured, Opponent("7", found, remeasured=True))
    assert verdict.reason == "Promoted: surely better than version 7 by more than the margin of 0.05."
    metric, *_, copies = verdict.table
    assert (metric.challenger, metric.champion, metric.limit) == (3.125, 3.591, -0.05)
    assert metric.difference == Interval(estimate=-0.472, low=-0.625, high=-0.319, level=0.9)
    # Fewer copies than by chance are none: nobody reads a share below zero.
    assert (copies.challenger, copies.note) == (0.0, "no sign of copying, p = 0.5")
    assert copies.difference == Interval(estimate=0.0, low=0.0, high=0.0011, level=0.95)
    assert table_from_tag(verdict.table_to_tag(), "model m, version 1") == verdict.table
    with pytest.raises(UserError, match=r"^model m, version 1: the tag gate\.table is not a valid table .*delete it"):
        table_from_tag('[{"name": 1}]', "model m, version 1")


def test_a_champion_that_wins_without_being_better_is_told_so(evaluation: Evaluation) -> None:
    lost = comparison(compared(2.0, 1.0, 0.5), coverage=compared(0.8, 0.92, 0.01))
    assert judged(evaluation, lost).reason == (
        "Not promoted: surely worse than version 7, and stopped by the guards: coverage."
    )
