"""What several seeds of one recipe or more have shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation, Figure, Interval
from ganlib.metrics.estimates import quantile
from pipelines.repeating.spread import LEAST_SEEDS, Spread, difference, joint_level
from pipelines.report.meanings import in_order, meaning, title
from pipelines.report.rounding import decimals_of, estimate, number


@dataclass(frozen=True)
class Seed:
    """One training.

    Attributes:
        seed: `train.seed`.
        run: the isolated run that it was.
        result: what was measured, or why nothing was.
    """

    seed: int
    run: str
    result: Evaluation | str

    def figure(self, name: str) -> Figure | None:
        """None where it was not measured."""
        return self.result.metrics.get(name) if isinstance(self.result, Evaluation) else None


@dataclass(frozen=True)
class Recipe:
    """A recipe and its trainings."""

    name: str
    seeds: tuple[Seed, ...]

    def values(self, metric: str) -> list[float]:
        """A figure of each training that has it: the estimate, free of the bias of few images, where there is one."""
        figures = (each.figure(metric) for each in self.seeds)
        return [_value(figure) for figure in figures if figure is not None]


@dataclass(frozen=True)
class Row:
    """One figure over the seeds.

    Attributes:
        name: such as `domain/fid`.
        spreads: of each recipe; None with fewer than two values.
        differences: of each further recipe from the first.
    """

    name: str
    spreads: tuple[Spread | None, ...]
    differences: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Found:
    """All of it.

    Attributes:
        metric: the gate's, which decides.
        level: confidence of the means' intervals, and of all differences of one figure together.
        recipes: the first is what others are compared with.
        rows: a figure each.
    """

    metric: str
    level: float
    recipes: tuple[Recipe, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, recipes: Sequence[Recipe], metric: str, level: float) -> "Found":
        """Put together what was found.

        Raises:
            UserError: a recipe has fewer than two trainings with the gate's figure.
        """
        for recipe in recipes:
            if len(recipe.values(metric)) < LEAST_SEEDS:
                reasons = [each.result for each in recipe.seeds if isinstance(each.result, str)]
                why = reasons[0] if reasons else f"{metric} was not measured"
                raise UserError(
                    f"{recipe.name}: {len(recipe.values(metric))} of {len(recipe.seeds)} trainings came to {metric}, "
                    f"expected {LEAST_SEEDS} or more ({why})"
                )
        results = (each.result for recipe in recipes for each in recipe.seeds)
        names = in_order({name for each in results if isinstance(each, Evaluation) for name in each.metrics})
        return cls(metric, level, tuple(recipes), tuple(_row(name, recipes, level) for name in names))

    @property
    def row(self) -> Row:
        """Of the gate's figure."""
        return next(each for each in self.rows if each.name == self.metric)

    @property
    def failures(self) -> tuple[str, ...]:
        """A line for each training that came to no evaluation."""
        return tuple(
            f"{recipe.name}, seed {each.seed}: {each.result}"
            for recipe in self.recipes
            for each in recipe.seeds
            if isinstance(each.result, str)
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer: of one recipe what the seed does, of several whether they differ by more."""
        first, *others = self.recipes
        if not others:
            return (_told_spread(self, first),)
        return tuple(
            _told_difference(self.metric, first.name, other.name, apart)
            for other, apart in zip(others, self.row.differences, strict=True)
        )

    def metrics(self) -> dict[str, float]:
        """For MLflow."""
        found: dict[str, float] = {}
        for recipe, spread in zip(self.recipes, self.row.spreads, strict=True):
            assert spread is not None
            prefix = f"repeat/{recipe.name}/{self.metric}" if len(self.recipes) > 1 else f"repeat/{self.metric}"
            found |= {
                f"{prefix}_mean": spread.mean.estimate,
                f"{prefix}_low": spread.mean.low,
                f"{prefix}_high": spread.mean.high,
                f"{prefix}_deviation": spread.deviation,
            }
        return found

    def resampling(self, recipe: Recipe) -> float | None:
        """The standard error of one training's figure by its own interval, on average: what other images would do."""
        figures = (each.figure(self.metric) for each in recipe.seeds)
        intervals = [figure.interval for figure in figures if figure is not None and figure.interval is not None]
        if not intervals:
            return None
        squares = [((each.high - each.low) / 2 / quantile(each.level)) ** 2 for each in intervals]
        return sqrt(sum(squares) / len(squares))


def is_sure(apart: Interval) -> bool:
    """Whether a difference leaves out that there is none."""
    return apart.low > 0 or apart.high < 0


def _row(name: str, recipes: Sequence[Recipe], level: float) -> Row:
    values = [recipe.values(name) for recipe in recipes]
    spreads = [Spread.of(each, level) if len(each) >= LEAST_SEEDS else None for each in values]
    first, *others = spreads
    joint = joint_level(level, len(others)) if others else level
    differences = (
        None if first is None or other is None else Interval.of(difference(other, first, joint)) for other in others
    )
    return Row(name, tuple(spreads), tuple(differences))


def _value(figure: Figure) -> float:
    return figure.value if figure.interval is None else figure.interval.estimate


def _told_spread(found: Found, recipe: Recipe) -> str:
    (spread,) = found.row.spreads
    assert spread is not None
    mean = Interval.of(spread.mean)
    told = (
        f"{title(found.metric)} is {estimate(mean)} on average over {len(spread.values)} seeds; from one seed to "
        f"another it varies by {number(spread.deviation, decimals_of(mean))} (standard deviation)"
    )
    resampling = found.resampling(recipe)
    if resampling:
        told += f", {number(spread.deviation / resampling, 1)} times what other images of one generator do"
    return f"{told}."


def _told_difference(metric: str, first: str, other: str, apart: Interval | None) -> str:
    assert apart is not None
    told = f"{other} less {first}: {estimate(apart)} in {title(metric)}"
    if not is_sure(apart):
        return f"{other} and {first} do not differ by more than their seeds may ({told})."
    better = meaning(metric).better
    if better == "neither":
        return f"{other} and {first} differ by more than their seeds do ({told})."
    wins, loses = (other, first) if (apart.high < 0) == (better == "lower") else (first, other)
    return f"{wins} is better than {loses} by more than the seeds do ({told})."
