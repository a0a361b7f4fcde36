"""The training loop: iterate, and once in a while log, sample, measure, checkpoint."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from ganlib.config import TrainOptions
from ganlib.errors import TrainingDiverged, TrainingInterrupted, UserError
from ganlib.events import Alarm, EventSink, Notice, Picture, Scalars, ignore
from ganlib.training.alarms import diversity_alarms, figure_alarms
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.checkpoint_writer import CheckpointWriter
from ganlib.training.clock import Clock, Span
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.graph import iteration_of
from ganlib.training.inputs import Feed
from ganlib.training.iteration import take_mean_figures
from ganlib.training.recipe import Recipe
from ganlib.training.showing import Measure, scored_images, show
from ganlib.training.state import Snapshot, TrainState

ITERATIONS_BETWEEN_QUESTIONS = 8
FIGURE_ALARMS = ("non_finite", "exploding_gradients", "critic_won")


@dataclass(frozen=True)
class _Session:
    """What the chapters of one call of `train` share."""

    recipe: Recipe
    measure: Measure
    checkpoints: CheckpointStore
    writer: CheckpointWriter
    ranks: Ranks
    on_event: EventSink


class _Diverged(Exception):
    """An alarm that is acted upon."""

    def __init__(self, alarm: Alarm) -> None:
        super().__init__(alarm.text)
        self.alarm = alarm


def train(
    state: TrainState,
    recipe: Recipe,
    feed: Feed,
    measure: Measure,
    checkpoints: CheckpointStore,
    *,
    ranks: Ranks = ALONE,
    should_stop: Callable[[], bool] = lambda: False,
    on_event: EventSink = ignore,
) -> TrainState:
    """Train from where `state` is until `total_images` have been shown, or patience is out.

    Every process of `ranks` calls this with its own state, which is the same
    in all. Only the first one measures, writes and is heard.

    Args:
        state: changed in place.
        recipe: objective, augmentation and options.
        feed: this process's share of each batch.
        measure: picks the best snapshot.
        checkpoints: where the state is kept; `finish` is left to the caller, once its outputs are written.
        ranks: the processes that train together.
        should_stop: asked after every iteration, or by several processes after every few.
        on_event: hears figures, pictures, alarms and progress; must not raise.

    Raises:
        TrainingDiverged: an alarm that is acted upon, and rolling back is not wanted or did not help;
            the last good checkpoint is kept.
        TrainingInterrupted: `should_stop` said so in one process; a checkpoint is kept.
    """
    with CheckpointWriter(checkpoints) as writer:
        session = _Session(recipe, measure, checkpoints, writer, ranks, on_event if ranks.is_first else ignore)
        _check_ranks_agree(state, session)
        if recipe.options.on_divergence == "rollback" and state.seen_images == 0:
            _save(state, session)  # something to go back to
        state.finished = state.finished and _out_of_patience(state, recipe.options)  # the options may have changed
        _iterate(state, feed, session, should_stop)
    return state


def _iterate(state: TrainState, feed: Feed, session: _Session, should_stop: Callable[[], bool]) -> None:
    options = session.recipe.options
    clock = Clock(options.total_images, state.seen_images, session.on_event)
    iteration = iteration_of(state, session.recipe, feed, session.ranks)
    while True:
        try:
            if state.finished or state.seen_images >= options.total_images:
                _end_run(state, clock, session)
                return
            before = state.seen_images
            iteration.run()
            clock.tick(state.seen_images)
            session.writer.check()
            _milestones(state, Span(before, state.seen_images), clock, session)
        except _Diverged as diverged:
            _roll_back(state, diverged.alarm, session)
            iteration.forget()  # the optimisers' state lies elsewhere now
            clock.restart(state.seen_images)
        if _asked_to_stop(state, session, should_stop):
            _interrupt(state, session)


def _milestones(state: TrainState, span: Span, clock: Clock, session: _Session) -> None:
    """What falls due in this span of the clock; nothing is measured or kept before the figures are seen to be sound."""
    options = session.recipe.options
    measuring = span.passes_multiple_of(options.measure_every_images)
    saving = span.passes_multiple_of(options.checkpoint_every_images)
    sampling = span.passes_multiple_of(options.sample_every_images)
    if measuring or saving or sampling or span.passes_multiple_of(options.log_every_images):
        _log(state, clock, session)
    if sampling:
        _sample(state, session)
    if measuring:
        _measure(state, session)
        if _out_of_patience(state, options):
            state.finished = True
            text = f"{session.measure.metric} has not fallen for {_since_best(state)} images shown; finished early"
            session.on_event(Notice(text))
    if saving:
        _save(state, session)


def _end_run(state: TrainState, clock: Clock, session: _Session) -> None:
    """Keep the state as a longer training passes through it; then log, sample and measure what this moment lacks."""
    options = session.recipe.options
    last = Span(state.seen_images - options.images_per_iteration, state.seen_images)
    if not last.passes_multiple_of(options.checkpoint_every_images) and _sums_are_finite(state, session):
        _save(state, session, milestone=False)
    if state.summed_iterations > 0:
        _log(state, clock, session)
    told = state.history[-1]
    if "diversity" not in told:
        _sample(state, session)
    if session.measure.metric not in told:
        _measure(state, session)


def _out_of_patience(state: TrainState, options: TrainOptions) -> bool:
    return options.patience_images is not None and _since_best(state) >= options.patience_images


def _since_best(state: TrainState) -> int:
    """Images shown since the best snapshot."""
    return state.seen_images - (state.best.seen_images if state.best is not None else 0)


def _log(state: TrainState, clock: Clock, session: _Session) -> None:
    """Mean figures since the last log point; between log points, no step waits for the device."""
    recipe = session.recipe
    figures = dict(zip(state.figures, take_mean_figures(state, session.ranks).tolist(), strict=True))
    _raise_alarms(
        figure_alarms(figures, recipe.options.alarms, recipe.loss, state.seen_images), FIGURE_ALARMS, state, session
    )
    if recipe.augment is not None:
        figures["augmentation/probability"] = float(state.augmentation.probability)
    _add_to_history(state, figures)
    session.on_event(Scalars(state.seen_images, {**figures, "speed/images_per_s": clock.images_per_s}))


def _sample(state: TrainState, session: _Session) -> None:
    recipe, value = session.recipe, 0.0
    if session.ranks.is_first:
        grid, value = show(state.ema, recipe, session.measure)
        session.on_event(Picture(state.seen_images, "samples", grid))
    value = session.ranks.from_first(value)
    _add_to_history(state, {"diversity": value})
    session.on_event(Scalars(state.seen_images, {"diversity": value}))
    alarms = diversity_alarms(value, state.peak_diversity, recipe.options.alarms, state.seen_images)
    state.peak_diversity = max(state.peak_diversity, value)
    _raise_alarms(alarms, ("falling_diversity",), state, session)


def _measure(state: TrainState, session: _Session) -> None:
    """Score the average; keep it where it is the best."""
    metric, score = session.measure.metric, 0.0
    if session.ranks.is_first:
        score = session.measure.score(scored_images(state.ema, session.recipe, session.measure))
    score = session.ranks.from_first(score)
    _add_to_history(state, {metric: score})
    session.on_event(Scalars(state.seen_images, {metric: score}))
    if not math.isfinite(score):
        text = f"{metric} is {score} at {state.seen_images} images shown; snapshot not considered"
        session.on_event(Notice(text))
    elif state.best is None or score < state.best.score:
        state.best = Snapshot(state.seen_images, score, _weights(state.ema), _weights(state.partner))


def _save(state: TrainState, session: _Session, *, milestone: bool = True) -> None:
    _check_ranks_are_equal(state, session)
    values = state.state_dict(session.ranks)
    if session.ranks.is_first:
        session.writer.save(values, milestone=milestone)


def _wait_for_checkpoint(session: _Session) -> None:
    """Until the first process has written the last one, in all of them."""
    session.writer.wait()
    session.ranks.wait("checkpoint")


def _raise_alarms(alarms: Iterable[Alarm], kinds: tuple[str, ...], state: TrainState, session: _Session) -> None:
    """Tell each alarm when it begins; act upon those that the options name."""
    raised: dict[str, Alarm] = {}
    for alarm in alarms:
        raised.setdefault(alarm.name, alarm)  # of several figures, the first
    for name, alarm in raised.items():
        if name not in state.alarms:
            session.on_event(alarm)
    state.alarms = [name for name in state.alarms if name not in kinds] + list(raised)
    for name, alarm in raised.items():
        if name in session.recipe.options.alarms.divergence:
            raise _Diverged(alarm)


def _roll_back(state: TrainState, alarm: Alarm, session: _Session) -> None:
    """Return to the last good checkpoint with lower rates.

    Raises:
        TrainingDiverged: that is not wanted, was done often enough, or there is none.
    """
    _wait_for_checkpoint(session)
    options = session.recipe.options
    what = f"train: {alarm.text} at {alarm.seen_images} images shown"
    kept = f"the last good checkpoint is kept in {session.checkpoints.home}"
    mend = "lower the learning rates of train.critic_optimizer and train.generator_optimizer"
    rollbacks, rate_scale = state.rollbacks + 1, state.rate_scale * options.rollback_rate_factor
    if options.on_divergence == "stop":
        raise TrainingDiverged(f"{what}; stopped, {kept}; {mend}, or set train.on_divergence to rollback")
    if rollbacks > options.max_rollbacks:
        raise TrainingDiverged(f"{what}, after {state.rollbacks} rollbacks; stopped, {kept}; {mend}")
    if not session.checkpoints.load_latest(
        state, notify=lambda text: session.on_event(Notice(text)), ranks=session.ranks, stops_too=False
    ):
        raise TrainingDiverged(f"{what}; there is no checkpoint to go back to; {mend}")
    state.rollbacks, state.rate_scale, state.alarms = rollbacks, rate_scale, []
    _check_ranks_agree(state, session)  # and all have read it before it is replaced
    _save(state, session)
    text = (
        f"{what}; rolled back to {state.seen_images} images shown, learning rates times {rate_scale:g} "
        f"(rollback {rollbacks} of {options.max_rollbacks})"
    )
    session.on_event(Notice(text))
    session.on_event(Scalars(alarm.seen_images, {"rollbacks": float(rollbacks)}))


def _asked_to_stop(state: TrainState, session: _Session, should_stop: Callable[[], bool]) -> bool:
    """Whether one process was; several ask each other now and then only, for then the CPUs wait for each other."""
    iteration = state.seen_images // session.recipe.options.images_per_iteration
    if session.ranks.size > 1 and iteration % ITERATIONS_BETWEEN_QUESTIONS:
        return False
    return session.ranks.any(should_stop())


def _interrupt(state: TrainState, session: _Session) -> None:
    if _sums_are_finite(state, session):
        _save(state, session, milestone=False)
    _wait_for_checkpoint(session)
    raise TrainingInterrupted(f"stopped at {state.seen_images} images shown; run it again to go on")


def _sums_are_finite(state: TrainState, session: _Session) -> bool:
    """Whether nothing has gone wrong since the last log point."""
    return not session.ranks.any(not math.isfinite(float(state.sums.sum())))


def _check_ranks_agree(state: TrainState, session: _Session) -> None:
    """See that all processes are at the same moment.

    Raises:
        UserError: they are not, as they have not read the same checkpoint.
    """
    if not session.ranks.agree(state.seen_images.to_bytes(8)):
        raise UserError(
            f"{session.checkpoints.home}: the processes have read different checkpoints (one at {state.seen_images} "
            "images shown); see that all machines share the project's folder, and run it again"
        )


def _check_ranks_are_equal(state: TrainState, session: _Session) -> None:
    """See that all processes have the same weights: they start equal and take the same steps.

    Raises:
        UserError: they have not; the checkpoint that was due is not written.
    """
    if session.ranks.size > 1 and not session.ranks.agree(state.weights_digest()):
        raise UserError(
            f"train.devices: the processes have different weights at {state.seen_images} images shown, expected equal "
            "ones; use devices of one kind and the same software on all machines; the last checkpoint is kept"
        )


def _add_to_history(state: TrainState, figures: dict[str, float]) -> None:
    """Add figures to the history's row of this moment."""
    if not state.history or state.history[-1]["seen_images"] != state.seen_images:
        state.history.append({"seen_images": state.seen_images})
    state.history[-1].update(figures)


def _weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
