import pytest

from ganlib.errors import UserError
from pipelines.repeating.findings import Found, Recipe, Seed
from pipelines.repeating.page import markdown, show
from tests.evaluations import evaluation, figure

METRIC = "domain/fid"


def recipe(name: str, distances: list[float | None], recall: float = 0.5) -> Recipe:
    def result(distance: float | None) -> object:
        if distance is None:
            return "stage train: the loss is not finite"
        return evaluation(fid=figure(distance, distance - 0.02, distance + 0.02), recall=figure(recall))

    return Recipe(name, tuple(Seed(seed, f"run-{seed}", result(each)) for seed, each in enumerate(distances)))  # type: ignore[arg-type]


def found(*recipes: Recipe) -> Found:
    return Found.of(recipes, METRIC, 0.95)


def test_one_recipe_tells_what_the_seed_does(capsys: pytest.CaptureFixture[str]) -> None:
    made = found(recipe("params.yaml", [1.0, 1.2, 1.4]))
    (told,) = made.sentences
    assert told.startswith("FID, domain features is 1.20 (0.70 to 1.70) on average over 3 seeds")
    # 0.2 between seeds; 0.02 / 1.96 by other images.
    assert "varies by 0.20 (standard deviation), 19.6 times what other images" in told
    assert made.metrics()["repeat/domain/fid_mean"] == pytest.approx(1.2)
    page = markdown(made)
    assert "| 1 | 1.200 (1.180 to 1.220) |" in page
    assert "| domain/fid (lower is better) | 1.20 ± 0.20 |" in page
    show(made)
    assert "between seeds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ([0.5, 0.6, 0.55], "b is better than a by more than the seeds do"),
        ([1.9, 2.0, 1.95], "a is better than b by more than the seeds do"),
        ([1.1, 1.3, 0.9], "b and a do not differ by more than their seeds may"),
    ],
)
def test_recipes_differ_only_beyond_their_seeds(other: list[float | None], told: str) -> None:
    made = found(recipe("a", [1.0, 1.1, 1.2]), recipe("b", other))
    (sentence,) = made.sentences
    assert sentence.startswith(told)
    assert f"**{sentence}**" in markdown(made)


def test_three_recipes_are_held_together_to_the_first() -> None:
    made = found(*(recipe(name, [1.0, 1.1, 1.2]) for name in "abc"))
    alone = found(*(recipe(name, [1.0, 1.1, 1.2]) for name in "ab"))
    wide, narrow = made.row.differences[0], alone.row.differences[0]
    assert wide is not None
    assert narrow is not None
    assert len(made.sentences) == 2
    assert (wide.level, narrow.level) == pytest.approx((0.975, 0.95))
    assert wide.high > narrow.high
    assert "Bonferroni" in markdown(made)


def test_what_failed_is_told_and_two_have_to_be_left() -> None:
    made = found(recipe("a", [1.0, None, 1.2]))
    assert made.failures == ("a, seed 1: stage train: the loss is not finite",)
    assert "- Failed: a, seed 1: stage train: the loss is not finite." in markdown(made)
    assert made.row.spreads[0] is not None
    assert len(made.row.spreads[0].values) == 2
    with pytest.raises(UserError, match=r"a: 1 of 2 trainings came to domain/fid, expected 2 or more \(stage train"):
        found(recipe("a", [1.0, None]))
