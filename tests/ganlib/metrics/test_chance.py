"""A classifier that is no better than chance is told from one that is."""

import numpy as np
from scipy.stats import binomtest

from ganlib.metrics.chance import chance_alarm


def test_the_alarm_is_the_exact_binomial_test() -> None:
    truth = np.repeat([0, 1, 2], [60, 30, 10])
    alarms = []
    for right in range(101):
        predicted = np.where(np.arange(100) < right, truth, (truth + 1) % 3)
        alarm = chance_alarm(predicted, truth)
        expected = binomtest(right, 100, 0.6, alternative="greater").pvalue
        assert (alarm is None) == (expected < 0.05), right
        if alarm is not None:
            assert f"right on {right} of 100 held-out images, the largest class alone has 60" in alarm
            assert f"(p = {expected:.2f})" in alarm
        alarms.append(alarm is not None)
    assert any(alarms)
    assert not all(alarms)


def test_one_class_says_nothing_however_often_it_is_right() -> None:
    assert chance_alarm(np.zeros(50, int), np.zeros(50, int)) is not None
