"""Which run is better, and when that is no more than chance."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ganlib.evaluation.record import Evaluation, Figure, Interval
from pipelines.comparing.figures import difference, is_sure, measured_alike, otherwise, rows
from pipelines.comparing.findings import find
from pipelines.comparing.parameters import differing
from pipelines.comparing.subject import Subject
from tests.evaluations import CONDITIONS, evaluation, figure

NOBODY = Subject(
    called="", run_id="", name="", status="FINISHED", started_ms=0, trained_s=1.0, version=None, aliases=(),
    generator_sha256="", data_sha256="", commit="", changed=False, parameters={}, evaluation=None, curves={},
    snapshots={}, samples=None, lacks=(),
)  # fmt: skip


def subjects(*evaluations: Evaluation | None) -> list[Subject]:
    return [replace(NOBODY, called="abcdefgh"[place], evaluation=each) for place, each in enumerate(evaluations)]


def ranked(name: str, *figures: Figure) -> tuple[frozenset[int], str]:
    found = subjects(*(evaluation(**{name: each}) for each in figures))
    (row,) = rows(found, measured_alike(found))
    return row.best, row.verdict


def test_a_lower_distance_and_a_higher_share_are_better() -> None:
    low, high = figure(0.5, 0.4, 0.6), figure(0.9, 0.8, 1.0)
    assert ranked("fid", high, low) == ({1}, "best: b")
    assert ranked("coverage", high, low) == ({0}, "best: a")
    assert ranked("diversity", high, low) == (frozenset(), "they differ")


def test_a_difference_within_chance_is_none() -> None:
    one, near = figure(0.50, 0.40, 0.60), figure(0.58, 0.48, 0.68)
    assert ranked("fid", one, near) == (frozenset(), "no difference")
    assert ranked("diversity", one, near) == (frozenset(), "no difference")
    # Two that cannot be told apart are both better than the third.
    assert ranked("fid", figure(2.0, 1.9, 2.1), near, one) == ({1, 2}, "best: c; as good, within chance: b")


def test_what_cannot_be_ranked_says_why() -> None:
    assert ranked("fid_infinity", figure(1.0), figure(2.0)) == (frozenset(), "no interval")
    assert ranked("fid", figure(1.0, 0.9, 1.1)) == (frozenset(), "not ranked")


def test_only_runs_that_were_measured_alike_are_ranked() -> None:
    good, poor = evaluation(fid=figure(0.1, 0.05, 0.15)), evaluation(fid=figure(5.0, 4.9, 5.1))
    inception = figure(0.0, 0.0, 0.01).model_copy(
        update={"conditions": CONDITIONS.model_copy(update={"extractor": "inception", "weights_sha256": "e" * 64})}
    )
    other = evaluation(fid=inception).model_copy(update={"measured_on": "0" * 64})
    found = subjects(good, other, poor)
    alike = measured_alike(found)
    assert alike == {0, 2}
    (row,) = rows(found, alike)
    assert (row.best, row.verdict) == ({0}, "best: a")
    assert list(otherwise(found, alike, "domain/fid")) == [
        "b was measured with another extractor and with other weights of the extractor: its figures are shown, and not "
        "ranked"
    ]
    # Of two that were measured otherwise none is better, however far apart.
    told = find(subjects(good, other), "domain/fid", None, "").headline
    assert told == "Which is better cannot be told: no two of these runs were measured alike in FID, domain features."


def test_no_run_was_measured() -> None:
    found = find(subjects(None, None), "domain/fid", None, "nothing")
    assert found.figures == ()
    assert found.headline.startswith("Which is better cannot be told")


def test_equal_generators_are_seldom_told_apart() -> None:
    """Of pairs of estimates with equal truths, at most the share that the confidence leaves open is `sure`."""
    random = np.random.default_rng(0)

    def drawn(sigmas: Sequence[float]) -> list[Figure]:
        values = [1.0 + random.normal() * sigma for sigma in sigmas]
        half = [1.96 * sigma for sigma in sigmas]
        return [figure(v, v - h, v + h) for v, h in zip(values, half, strict=True)]

    sure = 0
    for _ in range(4000):
        apart = difference(*drawn((0.1, 0.2)))
        assert apart is not None
        sure += is_sure(apart)
    assert sure / 4000 == pytest.approx(0.05, abs=0.012)


def test_a_difference_is_turned_round_with_its_sides() -> None:
    one, other = figure(1.0, 0.7, 1.2), figure(2.0, 1.5, 2.1)
    forth, back = difference(one, other), difference(other, one)
    assert forth is not None
    assert back == Interval(estimate=-forth.estimate, low=-forth.high, high=-forth.low, level=forth.level)


def test_only_parameters_that_differ() -> None:
    one = {"train.seed": "0", "network.family": "dcgan", "network.critic_norm": "none"}
    other = {"train.seed": "0", "network.family": "resnet", "network.widths": "[4, 4]"}
    found = {each.name: each.values for each in differing([one, None, other])}
    assert found == {
        "network.family": ("dcgan", None, "resnet"),
        "network.critic_norm": ("none", None, None),
        "network.widths": (None, None, "[4, 4]"),
    }
    assert differing([one, one]) == differing([one, None]) == []
