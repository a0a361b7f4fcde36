"""Error rates of people: closed forms, and the coverage of the interval where people differ."""

import numpy as np
import pytest
from scipy import stats

from ganlib.errors import UserError
from ganlib.people import Tally, error_rates, share_over_people


def test_one_person_has_wilsons_interval() -> None:
    found = error_rates([Tally(10, 3, 10, 6)], 0.95)
    for rate, wrong, answers in ((found.overall, 9, 20), (found.on_reals, 3, 10), (found.on_fakes, 6, 10)):
        expected = stats.binomtest(wrong, answers).proportion_ci(0.95, method="wilson")
        assert rate is not None
        assert rate.estimate == pytest.approx(wrong / answers)
        assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high))


def test_every_answer_counts_alike_and_who_answered_nothing_does_not_count() -> None:
    found = error_rates([Tally(10, 1, 10, 1), Tally(1, 1, 0, 0), Tally(0, 0, 0, 0)], 0.95)
    assert found.overall.estimate == pytest.approx(3 / 21)
    assert found == error_rates([Tally(10, 1, 10, 1), Tally(1, 1, 0, 0)], 0.95)
    assert error_rates([Tally(0, 0, 4, 2)], 0.95).on_reals is None


def test_nobody_has_no_rate() -> None:
    for tallies in ([], [Tally(0, 0, 0, 0)]):
        with pytest.raises(UserError, match="found no answers"):
            error_rates(tallies, 0.95)


def test_differing_people_widen_the_interval() -> None:
    answers = np.full(6, 20.0)
    alike = share_over_people(np.array([7.0, 8, 6, 7, 8, 6]), answers, 0.95)
    differing = share_over_people(np.array([0.0, 14, 2, 12, 1, 13]), answers, 0.95)
    assert alike.estimate == differing.estimate
    assert differing.high - differing.low > 2 * (alike.high - alike.low)


@pytest.mark.parametrize("people", [2, 3, 12])
def test_people_who_happen_to_be_alike_are_no_surer_than_their_answers_are(people: int) -> None:
    wrong, answers = np.full(people, 20.0), np.full(people, 100.0)
    alike = share_over_people(wrong, answers, 0.95)
    answers[-1] -= 1
    found = share_over_people(wrong, answers, 0.95)
    assert (found.low, found.high) == pytest.approx((alike.low, alike.high), abs=0.005)
    independent = stats.binomtest(20 * people, 100 * people - 1).proportion_ci(0.95, method="wilson")
    assert found.low < independent.low < independent.high < found.high


@pytest.mark.parametrize("people", [2, 5, 20])
def test_the_interval_holds_the_truth_as_often_as_it_says(people: int) -> None:
    draw, repetitions, truth = np.random.default_rng(people), 600, 0.3
    hits = 0
    for _ in range(repetitions):
        answers = draw.integers(5, 31, people).astype(float)
        wrong = draw.binomial(answers.astype(int), draw.beta(8 * truth, 8 * (1 - truth), people)).astype(float)
        found = share_over_people(wrong, answers, 0.95)
        hits += found.low <= truth <= found.high
    assert hits / repetitions >= 0.93
