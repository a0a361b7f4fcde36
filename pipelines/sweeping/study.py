"""A sweep's trials in Optuna's storage, which outlives whoever runs the sweep."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganlib.errors import UserError
from pipelines import paths
from pipelines.sweeping.space import Point, Space

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

SWEEPS = paths.OWN_SCRATCH / "sweeps"
_SPACE, _COMMIT = "space", "commit"
_RUN, _GENERATOR, _FAILED = "run", "generator_sha256", "failed"  # what is known of a trial beside its figures
_BUSY_S = 60  # how long one waits for another's write


@dataclass(frozen=True)
class Tried:
    """A trial that has ended.

    Attributes:
        number: from 0 on.
        point: its parameters.
        values: of the objectives; None where it was pruned or failed.
        run: the isolated run; empty where there was none.
        generator_sha256: what it made; empty likewise.
        why: it has no values; empty where it has.
    """

    number: int
    point: Point
    values: tuple[float, ...] | None
    run: str
    generator_sha256: str
    why: str


def check_installed() -> None:
    """See that Optuna is there.

    Raises:
        UserError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("gan sweep: needs Optuna, which is not installed; pip install 'ganlib[sweep]'") from None


class Study:
    """The trials of one sweep. Whoever runs it opens it and holds its lock; whoever runs a trial reports to it."""

    def __init__(self, home: Path, name: str, space: Space) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file = home / SWEEPS / f"{name}.db"
        file.parent.mkdir(parents=True, exist_ok=True)
        self._storage = optuna.storages.RDBStorage(
            f"sqlite:///{file.as_posix()}", engine_kwargs={"connect_args": {"timeout": _BUSY_S}}
        )
        self._study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            directions=space.directions(),
            pruner=_pruner(space),
            load_if_exists=True,
        )
        self._distributions = {name: each.distribution() for name, each in space.parameters.items()}

    @classmethod
    def open(cls, home: Path, name: str, space: Space, commit: str) -> "Study":
        """Go on with a sweep, or begin one.

        Args:
            home: the project's folder.
            name: of the sweep.
            space: what it searches.
            commit: what its trials run, but for their parameters; one that was begun stays with its own.

        Raises:
            UserError: there is one of this name with another space.
        """
        study = cls(home, name, space)
        written, known = space.model_dump(mode="json"), study.raw.user_attrs
        if known.get(_SPACE, written) != written:
            raise UserError(
                f"sweep {name}: was begun with another space; give this one another --name, or remove "
                f"{SWEEPS / name}.db to forget the other"
            )
        if _COMMIT not in known:
            study.raw.set_user_attr(_COMMIT, commit)
            study.raw.set_user_attr(_SPACE, written)
        study.raw.sampler = _sampler(space, len(study.raw.get_trials(deepcopy=False)))
        return study

    @property
    def commit(self) -> str:
        """What the trials run, but for their parameters."""
        return str(self._study.user_attrs[_COMMIT])

    def repeat_the_dead(self) -> int:
        """Close the trials of a process that is gone, and have them repeated first; how many."""
        from optuna.trial import TrialState

        dead = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in dead:
            self._study.enqueue_trial(trial.params, skip_if_exists=False)
            self._study.tell(trial.number, state=TrialState.FAIL)
        return len(dead)

    def ask(self) -> "Trial":
        """The next trial."""
        with _quiet():
            return self._study.ask(self._distributions)

    def lags(self, number: int, step: int, value: float) -> bool:
        """Note a trial's in-training figure, in the direction of the objective; whether it is behind other trials."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._storage.get_study_id_from_name(self._study.study_name), number
        )
        self._storage.set_trial_intermediate_value(trial_id, step, value)
        return bool(self._study.pruner.prune(self._study, self._storage.get_trial(trial_id)))

    def tell(self, trial: "Trial", values: Sequence[float]) -> None:
        """A trial has come to its evaluation."""
        with _quiet():
            self._study.tell(trial, list(values))

    def tell_pruned(self, trial: "Trial") -> None:
        """A trial was stopped because it lagged."""
        from optuna.trial import TrialState

        with _quiet():
            self._study.tell(trial, state=TrialState.PRUNED)

    def tell_failed(self, trial: "Trial", why: str) -> None:
        """A trial came to nothing."""
        from optuna.trial import TrialState

        trial.set_user_attr(_FAILED, why)
        with _quiet():
            self._study.tell(trial, state=TrialState.FAIL)

    def tried(self) -> list[Tried]:
        """All that have ended, in order; not those that died with their process."""
        return [_tried(each) for each in self._study.get_trials(deepcopy=False) if _has_ended(each)]

    def best(self) -> list[Tried]:
        """The best one; of several objectives those that no other beats in all."""
        try:
            return [_tried(each) for each in self._study.best_trials]
        except ValueError:
            return []

    @property
    def raw(self) -> "optuna.Study":
        """For pictures."""
        return self._study


def note_run(trial: "Trial", run: str, generator_sha256: str = "") -> None:
    """Keep what a trial runs as, and what it made."""
    trial.set_user_attr(_RUN, run)
    if generator_sha256:
        trial.set_user_attr(_GENERATOR, generator_sha256)


def _sampler(space: Space, trials: int) -> "optuna.samplers.BaseSampler":
    import optuna

    # What goes on must not draw again what was drawn.
    seed = int(np.random.SeedSequence([space.seed, trials]).generate_state(1)[0])
    return optuna.samplers.TPESampler(n_startup_trials=space.random_trials, seed=seed)


def _pruner(space: Space) -> "optuna.pruners.BasePruner":
    import optuna

    if space.pruning is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=space.pruning.after_trials, n_warmup_steps=space.pruning.from_measurement
    )


def _has_ended(trial: "FrozenTrial") -> bool:
    from optuna.trial import TrialState

    if trial.state is TrialState.FAIL:
        return _FAILED in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _tried(trial: "FrozenTrial") -> Tried:
    from optuna.trial import TrialState

    known: Mapping[str, Any] = trial.user_attrs
    pruned = "stopped, as it lagged" if trial.state is TrialState.PRUNED else ""
    return Tried(
        number=trial.number,
        point=trial.params,
        values=tuple(trial.values) if trial.state is TrialState.COMPLETE else None,
        run=known.get(_RUN, ""),
        generator_sha256=known.get(_GENERATOR, ""),
        why=known.get(_FAILED, pruned),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna marks as experimental what it has had for years."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
