from pathlib import Path
from typing import Any

import pytest
import yaml

from ganlib.config import parse_config
from ganlib.errors import UserError
from pipelines.sweeping.space import Space, check_space, overrides, read_space
from tests.configs import tiny_values

SPACE: dict[str, Any] = {
    "parameters": {
        "train.batch_size": {"low": 8, "high": 32, "step": 8},
        "train.generator_optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "loss.adversarial": {"choices": ["hinge", "non_saturating"]},
    },
    "objectives": ["domain/fid"],
    "seed": 0,
    "random_trials": 4,
    "pruning": None,
}


def read(folder: Path, values: Any) -> Space:
    file = folder / "sweep.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    space = read_space(file)
    text = yaml.safe_dump(tiny_values({}))
    check_space(space, file, text, parse_config(text, Path("params.yaml")))
    return space


def changed(parameters: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    return {**SPACE, **others, "parameters": SPACE["parameters"] if parameters is None else parameters}


def test_a_space_is_optunas_distributions_and_points_are_overrides(tmp_path: Path) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space = read(tmp_path, SPACE)
    assert {name: each.distribution() for name, each in space.parameters.items()} == {
        "train.batch_size": IntDistribution(8, 32, step=8),
        "train.generator_optimizer.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "loss.adversarial": CategoricalDistribution(("hinge", "non_saturating")),
    }
    assert space.directions() == ["minimize"]
    point = {"a.b": 1e-05, "c": "hinge", "d": None, "e": True, "f": "a b"}
    assert overrides(point) == ("a.b=1e-05", "c=hinge", "d=null", "e=true", 'f="a b"')


def test_an_upper_end_off_the_grid_is_not_tried(tmp_path: Path) -> None:
    space = read(tmp_path, changed({"train.batch_size": {"low": 8, "high": 30, "step": 8}}))
    assert space.parameters["train.batch_size"].extremes == (8, 24)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("- a", "expected parameters, objectives, seed"),
        ("a: [", "cannot be read"),
        (changed({}), "parameters is empty"),
        (changed({"train.batch_sise": {"low": 1, "high": 2}}), "no such parameter.*did you mean train.batch_size"),
        (changed({"train.batch_size.start": {"low": 1, "high": 2}}), "no such parameter"),
        (changed({"train.batch_size": {"low": 8, "high": 8}}), "low=8 is not below high=8"),
        (changed({"train.batch_size": {"low": 9, "high": 8}}), "low=9 is not below high=8"),
        (changed({"train.batch_size": {"low": 0, "high": 8, "log": True}}), "low=0 has no logarithm"),
        (changed({"train.batch_size": {"low": 8, "high": 16, "step": 9}}), "step=9 does not fit"),
        (changed({"train.batch_size": {"low": 8, "high": 16, "log": True, "step": 2}}), "exclude each other"),
        (changed({"train.batch_size": {"low": 8}}), "parameters.train.batch_size.high: missing"),
        (changed({"train.batch_size": {"choices": [8]}}), "parameters.train.batch_size.choices"),
        (changed({"train.batch_size": {"choices": [8, 8]}}), "holds a value twice"),
        (changed({"train.batch_size": {"low": -8, "high": 16}}), "train.batch_size=-8"),
        (changed({"loss.adversarial": {"choices": ["hinge", "hings"]}}), "loss.adversarial=hings.*found 'hings'"),
        (changed({"train.seed": {"low": 0, "high": 9}}), "the best seed is luck"),
        (changed({"evaluate.samples": {"low": 100, "high": 900}}), "decides how trials are measured"),
        (changed(objectives=["domain/fids"]), "found domain/fids, expected train_seconds or .*domain/fid"),
        (changed(objectives=["inception/fid"]), "found inception/fid, expected"),
        (changed(objectives=["domain/fid", "domain/fid"]), "names one twice"),
        (changed(objectives=[]), "objectives"),
        (
            changed(objectives=["domain/fid", "train_seconds"], pruning={"after_trials": 2, "from_measurement": 1}),
            "pruning: goes with one objective, found 2",
        ),
        (changed(trials=4), "trials: unknown"),
    ],
)
def test_mistakes_are_one_line_that_names_the_file(tmp_path: Path, values: Any, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        read(tmp_path, values)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"--space {tmp_path / 'sweep.yaml'}: ")


def test_a_corner_that_only_the_whole_refuses_is_found(tmp_path: Path) -> None:
    """Each end is valid with some other: 10 images in a batch, and 5 parts."""
    parameters = {"train.batch_size": {"choices": [8, 10]}, "train.accumulation": {"choices": [1, 2, 5]}}
    with pytest.raises(UserError, match=r"train\.batch_size=8.* does not divide"):
        read(tmp_path, changed(parameters))
