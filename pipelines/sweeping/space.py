"""What a sweep searches: parameters and their ranges, and what is to become best."""

import copy
import difflib
import itertools
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from ganlib.config import Options, PositiveInt, RunConfig, parse_config
from ganlib.errors import UserError
from pipelines.report.meanings import MEANINGS, meaning

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TRAIN_SECONDS = "train_seconds"  # an objective that is no figure of the evaluation: what the training costs
# The rest of params.yaml decides how trials are measured, and has to be the same for all of them.
SEARCHABLE = ("network", "loss", "augmentation", "train")
MOST_CORNERS = 512
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")  # what needs no quotes after `-S NAME=`

Value = bool | int | float | str | None
Point = Mapping[str, Value]


class Range(Options):
    """Numbers from low to high, integers where both ends are.

    Attributes:
        log: even in the logarithm.
        step: between neighbours, from low on.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def is_integer(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step) if each is not None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low} has no logarithm; expected above 0, or log: false")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; leave one out")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step={self.step} does not fit between {self.low} and {self.high}")
        return self

    @property
    def extremes(self) -> tuple[Value, ...]:
        """What is refused if anything is."""
        if self.step is None:
            return self.low, self.high
        return self.low, self.low + (self.high - self.low) // self.step * self.step

    def distribution(self) -> "BaseDistribution":
        """In Optuna's words."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_integer:
            return IntDistribution(int(self.low), int(self.extremes[1] or 0), log=self.log, step=int(self.step or 1))
        high = self.high if self.step is None else self.extremes[1]
        assert isinstance(high, int | float)
        return FloatDistribution(float(self.low), float(high), log=self.log, step=self.step)

    def __str__(self) -> str:
        by = f" by {self.step}" if self.step is not None else ", logarithmic" if self.log else ""
        return f"{self.low} to {self.high}{by}"


class Choice(Options):
    """One of some values, which have no order."""

    choices: Annotated[tuple[Value, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({json.dumps(each) for each in self.choices}) < len(self.choices):
            raise ValueError("choices holds a value twice")
        return self

    @property
    def extremes(self) -> tuple[Value, ...]:
        """All of them."""
        return self.choices

    def distribution(self) -> "BaseDistribution":
        """In Optuna's words."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def __str__(self) -> str:
        return ", ".join(map(_text, self.choices))


def _kind(written: object) -> str:
    return "choice" if isinstance(written, Choice) or (isinstance(written, dict) and "choices" in written) else "range"


_TAGS = ("range", "choice")
Searched = Annotated[Annotated[Range, Tag("range")] | Annotated[Choice, Tag("choice")], Discriminator(_kind)]


class Pruning(Options):
    """When a trial is stopped: its in-training Fréchet distance is above the median of earlier trials at that time.

    Attributes:
        after_trials: so many have ended.
        from_measurement: of the trial itself, counted from 1: the first one at which it may be stopped.
    """

    after_trials: PositiveInt
    from_measurement: PositiveInt


class Space(Options):
    """A sweep.

    Attributes:
        parameters: of params.yaml by dotted names.
        objectives: figures of the evaluation such as `domain/fid`, or `train_seconds`; with several, no one trial need
            be the best.
        seed: of the search; with several trials at a time their order is chance all the same.
        random_trials: that are drawn at random before the search learns from those before.
        pruning: None: each trial is trained to its end.
    """

    parameters: Annotated[dict[str, Searched], Field(min_length=1)]
    objectives: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
    seed: Annotated[int, Field(ge=0, strict=True)]
    random_trials: PositiveInt
    pruning: Pruning | None

    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """Of each objective, in Optuna's words."""
        return ["maximize" if meaning(name).better == "higher" else "minimize" for name in self.objectives]

    def described(self) -> dict[str, str]:
        """Each parameter's range in words."""
        return {name: str(each) for name, each in self.parameters.items()}


def read_space(path: Path) -> Space:
    """Read a sweep's file.

    Raises:
        UserError: one line that names the file, what was found and what was expected.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--space {path}: no such file; docs/sweeping.md shows one") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"--space {path}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise UserError(f"--space {path}: expected parameters, objectives, seed, random_trials and pruning")
    if not values.get("parameters"):
        raise UserError(f"--space {path}: parameters is empty, so there is nothing to search")
    try:
        return Space.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--space {path}: {_first(error)}") from None


def check_space(space: Space, path: Path, parameters: str, config: RunConfig) -> None:
    """See that the parameters are there, that their corners are valid, and that the objectives are measured.

    Args:
        space: of the file.
        path: of the file.
        parameters: the text of params.yaml that the sweep changes.
        config: what that says.

    Raises:
        UserError: one line for the first mistake.
    """
    where = f"--space {path}"
    base = yaml.safe_load(parameters)
    for name in space.parameters:
        _check_name(name, base, where)
    _check_objectives(space, config, where)
    for corner in _corners(space):
        values = copy.deepcopy(base)
        for name, value in corner.items():
            *sections, key = name.split(".")
            _inner(values, sections)[key] = value
        try:
            RunConfig.model_validate(values)
        except ValidationError:
            told = _refusal(values, path)
            point = ", ".join(f"{name}={_text(value)}" for name, value in corner.items())
            raise UserError(f"{where}: holds a point that params.yaml refuses ({point}): {told}") from None


def _refusal(values: Mapping[str, Any], path: Path) -> str:
    try:
        parse_config(yaml.safe_dump(values), path)
    except UserError as error:
        return str(error).splitlines()[0].removeprefix(f"{path}: ")
    raise AssertionError("what was refused once is refused again")


def overrides(point: Point) -> tuple[str, ...]:
    """A point in the words of `-S`."""
    return tuple(f"{name}={_text(value)}" for name, value in point.items())


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value not in ("null", "true", "false") else json.dumps(value)
    return json.dumps(value)


def _first(error: ValidationError) -> str:
    item = error.errors()[0]
    name = ".".join(str(part) for part in item["loc"] if part not in _TAGS)
    match item["type"]:
        case "missing":
            return f"{name}: missing"
        case "extra_forbidden":
            return f"{name}: unknown"
    found = "" if isinstance(item["input"], dict) else f"found {item['input']!r}; "
    return f"{name}: {found}{item['msg'].removeprefix('Value error, ').removeprefix('Input ')}"


def _check_name(name: str, base: Mapping[str, Any], where: str) -> None:
    *sections, key = name.split(".")
    if name == "train.seed":
        raise UserError(f"{where}: parameters.{name}: the best seed is luck; `gan repeat` tells what the seed does")
    if sections and sections[0] in base and sections[0] not in SEARCHABLE:
        raise UserError(
            f"{where}: parameters.{name}: decides how trials are measured; expected one of {', '.join(SEARCHABLE)}"
        )
    section = _inner(base, sections)
    if not isinstance(section, dict) or key not in section:
        known = list(_names(base, ""))
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"{where}: parameters.{name}: no such parameter in params.yaml{hint}")


def _check_objectives(space: Space, config: RunConfig, where: str) -> None:
    extractor = config.evaluate.extractor
    known = [f"{extractor}/{name}" for name, each in MEANINGS.items() if each.better != "neither"]
    for name in space.objectives:
        if name not in (*known, TRAIN_SECONDS):
            raise UserError(
                f"{where}: objectives: found {name}, expected {TRAIN_SECONDS} or what is measured by "
                f"evaluate.extractor={extractor}: {', '.join(known)}"
            )
    if len(set(space.objectives)) < len(space.objectives):
        raise UserError(f"{where}: objectives: names one twice")
    if space.pruning is not None and len(space.objectives) > 1:
        raise UserError(f"{where}: pruning: goes with one objective, found {len(space.objectives)}; set pruning: null")
    if space.pruning is not None and space.objectives[0] == TRAIN_SECONDS:
        raise UserError(f"{where}: pruning: stops the trials that lag in quality; set it to null for {TRAIN_SECONDS}")


def _corners(space: Space) -> Iterator[dict[str, Value]]:
    """All combinations of extremes, or of many so many at random, the same at each call."""
    extremes = [[(name, value) for value in each.extremes] for name, each in space.parameters.items()]
    count = 1
    for each in extremes:
        count *= len(each)
    if count <= MOST_CORNERS:
        yield from map(dict, itertools.product(*extremes))
        return
    for place, each in enumerate(extremes):  # each extreme once at least
        for chosen in each:
            yield dict(
                [*(other[0] for other in extremes[:place]), chosen, *(other[0] for other in extremes[place + 1 :])]
            )
    draw = random.Random(0)
    for _ in range(MOST_CORNERS):
        yield dict(draw.choice(each) for each in extremes)


def _inner(values: Any, sections: Sequence[str]) -> Any:
    for section in sections:
        values = values.get(section) if isinstance(values, dict) else None
    return values


def _names(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
