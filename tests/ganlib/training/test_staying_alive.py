"""Alarms, rollback, patience, stopping on request."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.config import AlarmOptions, GanOptions
from ganlib.errors import TrainingDiverged, TrainingInterrupted
from ganlib.events import Alarm, Notice, Scalars
from ganlib.training.alarms import diversity, diversity_alarms, figure_alarms
from ganlib.training.loop import train
from ganlib.training.recipe import Recipe
from ganlib.training.showing import Measure
from ganlib.training.state import TrainState
from tests.configs import tiny_config, tiny_values
from tests.toy_training import IMAGE, ToyFeed, digest, go_on, start, store_of

HEALTHY = {"loss/critic": 1.0, "loss/generator": 0.5, "gradient_norm/critic": 2.0, "gradient_norm/generator": 1.0}
OPTIONS = AlarmOptions(exploding_gradients=100.0, critic_won=0.01, falling_diversity=0.5, divergence=("non_finite",))


def loss(**changes) -> GanOptions:
    return GanOptions.model_validate({**tiny_values({})["loss"], **changes})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, None),
        ({"loss/generator": math.nan}, "non_finite"),
        ({"gradient_norm/critic": math.inf}, "non_finite"),
        ({"gradient_norm/generator": 100.1}, "exploding_gradients"),
        ({"loss/critic": 0.009}, "critic_won"),
    ],
)
def test_each_figure_alarm_has_its_name_value_and_limit(changes: dict, name: str | None) -> None:
    alarms = list(figure_alarms({**HEALTHY, **changes}, OPTIONS, loss(), 640))
    if name is None:
        assert alarms == []
        return
    alarm = next(alarm for alarm in alarms if alarm.name == name)
    assert alarm.figure in changes
    assert alarm.seen_images == 640
    assert alarm.figure in alarm.text


def test_the_critic_wins_against_its_own_lower_bound() -> None:
    """Smoothing lifts the bound to the entropy of the smoothed label; Wasserstein has none."""
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    smoothed = loss(adversarial="minimax", label_smoothing=0.1)
    assert not list(figure_alarms({**HEALTHY, "loss/critic": entropy + 0.02}, OPTIONS, smoothed, 0))
    assert list(figure_alarms({**HEALTHY, "loss/critic": entropy + 0.005}, OPTIONS, smoothed, 0))
    assert not list(figure_alarms({**HEALTHY, "loss/critic": -50.0}, OPTIONS, loss(adversarial="wasserstein"), 0))


def test_diversity_is_the_mean_distance_within_classes() -> None:
    images = np.zeros((4, 2, 2, 1), np.uint8)
    images[2:] = 255
    assert diversity(images, np.array([0, 0, 1, 1])) == 0.0
    assert diversity(images, None) == pytest.approx(4 / 6)
    assert diversity(images, np.array([0, 1, 0, 1])) == 1.0


def test_diversity_falls_against_its_highest() -> None:
    assert not list(diversity_alarms(0.11, 0.2, OPTIONS, 0))
    (alarm,) = diversity_alarms(0.09, 0.2, OPTIONS, 0)
    assert (alarm.name, alarm.value, alarm.limit) == ("falling_diversity", 0.09, 0.1)


def poison(state: TrainState) -> None:
    with torch.no_grad():
        state.partner_learner.parameters[0].fill_(math.nan)


def test_non_finite_figures_stop_and_keep_the_last_good_checkpoint(tmp_path: Path) -> None:
    config = tiny_config({})
    state = start(config)
    go_on(state, config, tmp_path)
    store = store_of(config, tmp_path)
    kept = sorted(path.name for path in store.home.glob("[0-9]*"))

    config = tiny_config({"train.total_images": config.train.total_images + 64})
    poison(state)
    events: list = []
    with pytest.raises(TrainingDiverged, match=r"is nan at \d+ images shown.*learning rates") as caught:
        go_on(state, config, tmp_path, events=events)
    assert "\n" not in str(caught.value)
    assert [event.name for event in events if isinstance(event, Alarm)] == ["non_finite"]
    assert sorted(path.name for path in store.home.glob("[0-9]*")) == kept
    sound = start(config)
    assert store.load_latest(sound, notify=lambda text: pytest.fail(text))
    assert all(bool(torch.isfinite(p).all()) for p in sound.critic.parameters())


def test_rollback_goes_back_with_a_lower_rate_and_finishes(tmp_path: Path) -> None:
    config = tiny_config({"train.on_divergence": "rollback"})
    state, events = start(config), []
    poisoned: list[int] = []

    def stop() -> bool:
        if state.seen_images == 64 and not poisoned:
            poisoned.append(state.seen_images)
            poison(state)
        return False

    go_on(state, config, tmp_path, events=events, should_stop=stop)
    assert poisoned
    assert (state.rollbacks, state.rate_scale) == (1, 0.5)
    assert state.seen_images == config.train.total_images
    assert state.generator_learner.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)
    assert all(bool(torch.isfinite(p).all()) for p in state.generator.parameters())
    told = [event.text for event in events if isinstance(event, Notice)]
    assert any("rolled back to 48 images shown" in text for text in told)
    assert [e.values["rollbacks"] for e in events if isinstance(e, Scalars) and "rollbacks" in e.values] == [1.0]
    seen = [row["seen_images"] for row in state.history]
    assert seen == sorted(set(seen))


def test_rollback_is_bounded(tmp_path: Path) -> None:
    """A cause that lower rates do not cure ends the run; a resumed run has not forgotten the count."""
    config = tiny_config({"train.on_divergence": "rollback", "train.max_rollbacks": 2})
    state = start(config)

    def stop() -> bool:
        poison(state)
        return False

    with pytest.raises(TrainingDiverged, match="after 2 rollbacks") as caught:
        go_on(state, config, tmp_path, should_stop=stop)
    assert "\n" not in str(caught.value)
    resumed = start(config)
    assert store_of(config, tmp_path).load_latest(resumed, notify=pytest.fail)
    assert (resumed.rollbacks, resumed.rate_scale) == (2, 0.25)


def test_exploding_gradients_are_only_told_unless_named(tmp_path: Path) -> None:
    told_only = {"train.alarms.exploding_gradients": 1e-9, "train.alarms.divergence": ["non_finite"]}
    events: list = []
    config = tiny_config(told_only)
    go_on(start(config), config, tmp_path / "told", events=events)
    assert [event.name for event in events if isinstance(event, Alarm)] == [
        "exploding_gradients"
    ]  # once, not each time

    config = tiny_config({**told_only, "train.alarms.divergence": ["non_finite", "exploding_gradients"]})
    with pytest.raises(TrainingDiverged, match="gradients explode"):
        go_on(start(config), config, tmp_path / "acted")


def test_patience_finishes_early_and_keeps_the_best(tmp_path: Path) -> None:
    config = tiny_config({"train.total_images": 800, "train.patience_images": 80, "train.measure_every_images": 40})
    state, scores = start(config), iter([5.0, 3.0, 4.0, 3.5, 1.0])
    events: list = []
    train(
        state,
        Recipe.of(config, IMAGE),
        ToyFeed(config),
        Measure("domain/fid", lambda _images: next(scores), (1, 1, 1)),
        store_of(config, tmp_path),
        on_event=events.append,
    )
    assert state.finished
    assert state.seen_images == 160
    assert state.best is not None
    assert (state.best.seen_images, state.best.score) == (80, 3.0)
    assert any("finished early" in event.text for event in events if isinstance(event, Notice))


def test_a_stop_on_request_keeps_a_checkpoint_of_that_moment(tmp_path: Path) -> None:
    config = tiny_config({"train.total_images": 88})
    whole = start(config)
    go_on(whole, config, tmp_path / "whole")

    state = start(config)
    with pytest.raises(TrainingInterrupted, match="stopped at 56 images shown"):
        go_on(state, config, tmp_path / "parts", should_stop=lambda: state.seen_images == 56)
    resumed = start(config)
    assert store_of(config, tmp_path / "parts").load_latest(resumed, notify=pytest.fail)
    assert resumed.seen_images == 56
    go_on(resumed, config, tmp_path / "parts")
    assert digest(resumed) == digest(whole)


def test_a_stop_before_a_divergence_changes_nothing(tmp_path: Path) -> None:
    """The rollback goes to the last milestone, whether or not the training was stopped since."""
    config = tiny_config({"train.on_divergence": "rollback", "train.total_images": 88})
    ends = []
    for run, stopped_at in enumerate((None, 56)):
        folder, state = tmp_path / str(run), start(config)
        if stopped_at is not None:
            with pytest.raises(TrainingInterrupted):
                go_on(state, config, folder, should_stop=lambda state=state: state.seen_images == 56)
            state = start(config)
            assert store_of(config, folder).load_latest(state, notify=pytest.fail)
        poisoned: list[int] = []

        def poison_once(state: TrainState = state, poisoned: list[int] = poisoned) -> bool:
            if state.seen_images == 64 and not poisoned:
                poisoned.append(64)
                poison(state)
            return False

        go_on(state, config, folder, should_stop=poison_once)
        assert state.rollbacks == 1
        ends.append(digest(state))
    assert ends[0] == ends[1]


def test_fakes_are_taken_over_where_asked_for(tmp_path: Path) -> None:
    """Then the generator's own latents do not matter; it still learns, and resumes."""
    config = tiny_config({"train.reuse_fakes": True, "train.total_images": 48})
    state = start(config)
    before = [each.detach().clone() for each in state.generator.parameters()]
    go_on(state, config, tmp_path)
    assert any(not torch.equal(a, b) for a, b in zip(before, state.generator.parameters(), strict=True))
    assert digest(state) != _end(tiny_config({"train.total_images": 48}), tmp_path / "fresh")
    assert digest(state) == _end(config, tmp_path / "again")


def _end(config, folder: Path) -> str:
    state = start(config)
    go_on(state, config, folder)
    return digest(state)
