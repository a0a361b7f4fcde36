"""`gan repeat`: from recipes and a number of seeds to trainings, a page, and a run in MLflow above them."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import RunConfig
from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation
from pipelines import paths
from pipelines.flows.trial import Trial, TrialFailed, finished, run_trial
from pipelines.graph import snapshot
from pipelines.graph.differences import flat
from pipelines.graph.supervisor import signals_unwind
from pipelines.graph.workspace import Say
from pipelines.presets import find_preset, known_presets, preset_text
from pipelines.repeating.findings import Found, Recipe, Seed
from pipelines.repeating.page import markdown
from pipelines.repeating.spread import LEAST_SEEDS
from pipelines.report.rounding import number
from pipelines.stages.describing import experiment_of
from pipelines.tracking.runs import GROUP_KIND, RunLog, training_run

KIND = "repeat"
ARTIFACTS = "repetition"
OWN = paths.PARAMS.name  # what the project's own recipe is called
# What decides no figure that both have, of the sections that recipes must share to be compared.
_BESIDE = {"device", "threads", "batch_size", "kept_share"}
_DIGITS = 16


@dataclass(frozen=True)
class _Plan:
    """A recipe's trials, a seed each."""

    recipe: str
    trials: dict[int, Trial]


class _Stopped(Exception):
    """The others are asked to stop."""


def repeat(
    home: Path,
    *,
    seeds: int,
    presets: Sequence[str],
    overrides: Sequence[str],
    parallel: int,
    output: Path,
    say: Say,
) -> Found:
    """Train each recipe with several seeds, in isolated runs as far as the evaluation, and tell what the seed does.

    What was trained before, with the same content of the project, the same parameters and seed, is taken over.

    Args:
        home: the project's folder.
        seeds: how many, from the recipe's `train.seed` on.
        presets: names of recipes to compare; none: the project's own parameters.
        overrides: of parameters of all recipes, `NAME=VALUE` each.
        parallel: trainings at a time.
        output: Markdown file, replaced as a whole.
        say: hears progress.

    Raises:
        UserError: what is asked for makes no sense or cannot run, or too few trainings came to their end.
    """
    if output.suffix.lower() != ".md" or output.is_dir():
        raise UserError(f"--output {output}: a Markdown file is written; expected a name that ends in .md")
    home = home.resolve()
    plans = _plans(home, seeds, presets, overrides)
    config = next(iter(plans[0].trials.values())).config
    trials = [trial for plan in plans for trial in plan.trials.values()]
    made = sum(finished(home, trial) is not None for trial in trials)
    say(f"{len(trials)} trainings, {made} of them made before; {min(parallel, max(len(trials) - made, 1))} at a time")
    group = _group(plans)
    with signals_unwind(), _common_run(config, plans, group, overrides) as log:
        results = _run_all(home, trials, group=group, parallel=parallel, log=log, say=say)
        recipes = tuple(
            Recipe(
                plan.recipe,
                tuple(Seed(seed, trial.name, results[trial.name]) for seed, trial in plan.trials.items()),
            )
            for plan in plans
        )
        found = Found.of(recipes, config.register_.metric, config.evaluate.confidence)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(markdown(found), encoding="utf-8")
        log.artifact(output, ARTIFACTS)
        log.describe(markdown(found))
        log.metrics(found.metrics(), seeds)
    return found


def _plans(home: Path, seeds: int, presets: Sequence[str], overrides: Sequence[str]) -> list[_Plan]:
    if seeds < LEAST_SEEDS:
        raise UserError(f"--seeds {seeds}: expected {LEAST_SEEDS} or more, as one says nothing of another")
    if any(each.partition("=")[0].strip() == "train.seed" for each in overrides):
        raise UserError("-S train.seed: is what --seeds changes; leave it out")
    if len(set(presets)) < len(presets):
        raise UserError(f"--presets {','.join(presets)}: names a preset twice")
    texts: dict[str, str | None] = {OWN: None}
    if presets:
        known = known_presets(home)
        texts = {name: preset_text(find_preset(name, known).path) for name in presets}
    base = snapshot.take(home, ref=None, overrides=())  # once: what is edited meanwhile plays no part
    plans = []
    experiment = ""
    for name, text in texts.items():
        config = snapshot.take(home, ref=base.commit, overrides=overrides, parameters=text).config
        experiment = experiment or config.tracking.experiment
        together = () if config.tracking.experiment == experiment else (f'tracking.experiment="{experiment}"',)
        first = config.train.seed
        trials = {}
        for seed in range(first, first + seeds):
            label = f"seed {seed}" if len(texts) == 1 else f"{name}, seed {seed}"
            changes = (*overrides, *together, f"train.seed={seed}")
            taken = snapshot.take(home, ref=base.commit, overrides=changes, parameters=text)
            trials[seed] = Trial.of(label, taken)
        plans.append(_Plan(name, trials))
    _check_alike(plans)
    return plans


def _check_alike(plans: Sequence[_Plan]) -> None:
    """See that the recipes are measured alike."""
    first, *others = (next(iter(plan.trials.values())).config for plan in plans)
    for plan, other in zip(plans[1:], others, strict=True):
        for section in ("data", "extractor", "evaluate", "tracking"):
            mine, theirs = (flat(getattr(each, section).model_dump(), f"{section}.") for each in (first, other))
            apart = [
                name
                for name in dict.fromkeys([*mine, *theirs])
                if mine.get(name) != theirs.get(name) and name.rpartition(".")[2] not in _BESIDE
            ]
            if apart:
                raise UserError(
                    f"--presets: {plans[0].recipe} and {plan.recipe} differ in {', '.join(apart)}, so their figures do "
                    "not compare; set it for both with -S, or choose others"
                )
        if first.register_.metric != other.register_.metric:
            raise UserError(
                f"--presets: {plans[0].recipe} and {plan.recipe} differ in register.metric ({first.register_.metric}, "
                f"{other.register_.metric}); set it for both with -S"
            )


def _group(plans: Sequence[_Plan]) -> str:
    """The same for the same recipes, however many seeds."""
    trees = (next(iter(plan.trials.values())).tree for plan in plans)
    return f"{KIND}-{hashlib.sha256(' '.join(trees).encode()).hexdigest()[:_DIGITS]}"


@contextlib.contextmanager
def _common_run(config: RunConfig, plans: Sequence[_Plan], group: str, overrides: Sequence[str]) -> Iterator[RunLog]:
    names = " against ".join(plan.recipe for plan in plans)
    with training_run(
        experiment=experiment_of(config),
        run_key=group,
        run_name=f"{config.register_.model_name} · {names} over seeds",
        params={"recipes": names, **({"changed": ", ".join(overrides)} if overrides else {})},
        tags={GROUP_KIND: KIND},
        dataset=None,
    ) as log:
        yield log


def _run_all(
    home: Path, trials: Sequence[Trial], *, group: str, parallel: int, log: RunLog, say: Say
) -> dict[str, Evaluation | str]:
    """By name of the run what was found, or why nothing was."""
    results: dict[str, Evaluation | str] = {}
    stop = threading.Event()

    def watch() -> None:
        if stop.is_set():
            raise _Stopped

    def run(trial: Trial) -> Evaluation:
        watch()
        return run_trial(home, trial, group=group, say=lambda line: say(f"{trial.label} | {line}"), watch=watch)

    with ThreadPoolExecutor(parallel, thread_name_prefix="trial") as pool:
        try:
            running: dict[Future[Evaluation], Trial] = {pool.submit(run, trial): trial for trial in trials}
            for future in as_completed(running):
                trial = running[future]
                try:
                    found = future.result()
                except TrialFailed as error:
                    results[trial.name] = str(error)
                    told = f"failed: {error}"
                else:
                    results[trial.name] = found
                    log.nest(found.generator_sha256)
                    told = _told(found, trial.config.register_.metric)
                say(f"{trial.label}: {told} ({len(results)} of {len(trials)} done)")
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return results


def _told(found: Evaluation, metric: str) -> str:
    figure = found.metrics.get(metric)
    if figure is None:
        return f"{metric} was not measured"
    return f"{metric} {number(figure.value if figure.interval is None else figure.interval.estimate)}"
