"""A sweep's run in MLflow: its trials below it, their table, and pictures of what mattered."""

import csv
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.sweeping.found import Found, markdown
from pipelines.sweeping.study import Study
from pipelines.tracking.runs import RunLog

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

ARTIFACTS = "sweep"
PAGE, TRIALS = "sweep.md", "trials.csv"
LEAST_EVALUATED = 2  # of which something can be drawn
_DPI = 120


def tell_mlflow(log: RunLog, found: Found, study: Study, space: Path) -> None:
    """Log the page, the table, the pictures and the space; put the trials' runs below."""
    for each in found.trials:
        if each.generator_sha256:
            log.nest(each.generator_sha256)
    notes: list[str] = []
    pictures = []
    for name, draw in _pictures(found, study.raw, notes):
        pictures.append(name)
        log.written(name, draw, ARTIFACTS)
    page = markdown(found, pictures, notes)
    log.written(PAGE, lambda path: _write(path, page), ARTIFACTS)
    log.written(TRIALS, lambda path: _write_trials(path, found), ARTIFACTS)
    log.artifact(space, ARTIFACTS)
    log.describe(markdown(found, [], notes))
    if found.best:
        best = found.best[0]
        assert best.values is not None
        values = zip(found.space.objectives, best.values, strict=True)
        log.metrics({f"sweep/best/{name}": value for name, value in values}, len(found.trials))
        log.tags({"ganlib.best_run": best.run})


def _pictures(found: Found, study: "optuna.Study", notes: list[str]) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Parallel coordinates and importances for each objective, or a note why there are none."""
    if sum(each.values is not None for each in found.trials) < LEAST_EVALUATED:
        notes.append(f"No pictures: fewer than {LEAST_EVALUATED} trials were evaluated.")
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.visualization.matplotlib import plot_parallel_coordinate, plot_param_importances

    for place, (objective, direction) in enumerate(zip(found.space.objectives, found.space.directions(), strict=True)):
        suffix = "" if len(found.space.objectives) == 1 else f"_{objective.replace('/', '_')}"

        def target(trial: "FrozenTrial", place: int = place) -> float:
            return float(trial.values[place])

        def cost(trial: "FrozenTrial", place: int = place, sign: int = 1 if direction == "minimize" else -1) -> float:
            return sign * float(trial.values[place])  # what the importance of parameters is measured by

        coordinates = partial(plot_parallel_coordinate, study, target=target, target_name=objective)
        yield f"parallel_coordinates{suffix}.png", _drawn(coordinates)
        evaluator = PedAnovaImportanceEvaluator()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                get_param_importances(study, evaluator=evaluator, target=cost)
        except (RuntimeError, ValueError) as error:
            notes.append(f"No importances for {objective}: {error}.")
            continue
        importances = partial(plot_param_importances, study, evaluator, target=cost, target_name=objective)
        yield f"importances{suffix}.png", _drawn(importances)


def _drawn(plot: Callable[[], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import matplotlib.pyplot as plt

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Optuna marks as experimental
            plot()
        figure = plt.gcf()
        figure.savefig(path, dpi=_DPI, bbox_inches="tight")
        plt.close(figure)

    return write


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_trials(path: Path, found: Found) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*found.header()[:-1], "generator", "why it has no values"))
        for each in found.ranked():
            values = each.values or ("",) * len(found.space.objectives)
            point = (each.point.get(name, "") for name in found.space.parameters)
            writer.writerow((each.number, *values, *point, each.run, each.generator_sha256, each.why))
