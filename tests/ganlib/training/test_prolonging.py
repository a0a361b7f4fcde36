"""Going on with other parameters: what leaves the bits alone goes on, all else is named in one line."""

import os
from pathlib import Path

import pytest
import torch

from ganlib.config import RunConfig
from ganlib.training.checkpoint import KEPT_TRAININGS, CheckpointStore
from ganlib.training.ingredients import Ingredients
from ganlib.training.state import TrainState
from tests.configs import tiny_config
from tests.toy_training import IMAGE, Interrupted, digest, go_on, start, store_of

CPU = torch.device("cpu")
SPANNING = {"shape": "linear", "start": 1e-3, "end": 0.0, "over_images": None, "warmup_images": 0}
DIGESTS = {"training images": "0", "training code": "0"}
BEFORE = {"train.log_every_images": 32, "train.sample_every_images": 48, "train.checkpoint_every_images": 24}
AFTER = {"train.log_every_images": 16, "train.sample_every_images": 8, "train.checkpoint_every_images": 40}


def interrupted(config: RunConfig, folder: Path, at: int) -> None:
    with pytest.raises(Interrupted):
        go_on(start(config), config, folder, stop_after=at)


def resumed(config: RunConfig, folder: Path) -> tuple[TrainState, bool, list[str]]:
    state, told = start(config), []
    found = store_of(config, folder).resume(state, notify=told.append)
    return state, found, told


def learnt(state: TrainState) -> str:
    """A digest of what the generator comes from, without what is told on the way."""
    state.history, state.peak_diversity, state.alarms = [], 0.0, []
    return digest(state)


def finished(config: RunConfig, folder: Path) -> TrainState:
    state = start(config)
    go_on(state, config, folder)
    store_of(config, folder).finish()
    return state


def test_other_intervals_of_telling_and_keeping_change_no_bit(tmp_path: Path) -> None:
    """8 iterations are 3, a kill, other intervals, and 5 more."""
    length = {"train.total_images": 64, "train.measure_every_images": 24}
    whole = start(tiny_config({**BEFORE, **length}))
    go_on(whole, tiny_config({**BEFORE, **length}), tmp_path / "whole")

    interrupted(tiny_config({**BEFORE, **length}), tmp_path / "parts", at=24)
    changed = tiny_config({**AFTER, **length})
    state, found, told = resumed(changed, tmp_path / "parts")
    assert (found, state.seen_images, told) == (True, 24, [])
    go_on(state, changed, tmp_path / "parts")

    rows = {row["seen_images"]: row for row in state.history}
    assert list(rows) == [24, 32, 40, 48, 56, 64]
    assert rows[24] == whole.history[0]
    for name in ("loss/critic", "loss/generator"):  # of every iteration once, whatever the interval
        mine = sum(rows[seen][name] for seen in (56, 64))
        spans = {row["seen_images"]: row for row in whole.history}
        assert list(spans) == [24, 32, 48, 64]
        assert mine / 2 == pytest.approx(spans[64][name])
    assert learnt(state) == learnt(whole)


def test_a_finished_training_that_is_prolonged_is_the_longer_one_bit_for_bit(tmp_path: Path) -> None:
    """Its end, at no multiple of any interval, leaves no trace: no row, no snapshot, nothing in the sums."""
    whole = start(tiny_config({"train.total_images": 136}))
    go_on(whole, tiny_config({"train.total_images": 136}), tmp_path / "whole")

    short = finished(tiny_config({"train.total_images": 88}), tmp_path / "parts")
    assert short.history[-1]["seen_images"] == 88
    assert "domain/fid" in short.history[-1]
    longer = tiny_config({"train.total_images": 136})
    interrupted_at, found, told = resumed(longer, tmp_path / "parts")
    assert (found, interrupted_at.seen_images, told) == (True, 88, [])
    go_on(interrupted_at, longer, tmp_path / "parts")
    assert digest(interrupted_at) == digest(whole)


def test_killed_before_its_outputs_are_written_it_ends_alike(tmp_path: Path) -> None:
    config = tiny_config({"train.total_images": 88})
    whole = start(config)
    go_on(whole, config, tmp_path)
    state, found, _ = resumed(config, tmp_path)
    assert found
    assert state.seen_images == 88
    go_on(state, config, tmp_path)
    assert digest(state) == digest(whole)


def test_more_patience_goes_on(tmp_path: Path) -> None:
    changes = {"train.total_images": 160, "train.patience_images": 40}
    state = finished(tiny_config(changes), tmp_path / "parts")
    assert state.finished
    assert state.seen_images < 160
    patient = tiny_config({**changes, "train.patience_images": None})
    whole = start(patient)
    go_on(whole, patient, tmp_path / "whole")
    state, found, _ = resumed(patient, tmp_path / "parts")
    assert found
    go_on(state, patient, tmp_path / "parts")
    assert state.seen_images == 160
    assert digest(state) == digest(whole)


def test_a_finished_training_begins_anew_where_nothing_has_changed(tmp_path: Path) -> None:
    config = tiny_config({})
    finished(config, tmp_path)
    state, found, told = resumed(config, tmp_path)
    assert (found, state.seen_images) == (False, 0)
    assert told == ["this training had finished; it starts from the beginning"]
    interrupted(config, tmp_path, at=64)
    state, found, _ = resumed(config, tmp_path)
    assert (found, state.seen_images) == (True, 48)


def test_a_shorter_training_neither_uses_nor_loses_what_a_longer_one_has(tmp_path: Path) -> None:
    longer, shorter = tiny_config({"train.total_images": 96}), tiny_config({"train.total_images": 40})
    finished(longer, tmp_path)
    state, found, told = resumed(shorter, tmp_path)
    assert (found, state.seen_images) == (False, 0)
    assert told == ["starting at 0 images shown: the checkpoint at 96 images shown lies beyond train.total_images=40"]
    finished(shorter, tmp_path)
    state, found, _ = resumed(tiny_config({"train.total_images": 120}), tmp_path)
    assert (found, state.seen_images) == (True, 96)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"train.seed": 7}, "train.seed was 0 and is 7"),
        (
            {"train.ema_ramp": 0.5, "loss.r1.every_steps": 2},
            "loss.r1.every_steps was 1 and is 2; train.ema_ramp was 0.05 and is 0.5",
        ),
        ({"network": "mlp"}, 'network.family was "dcgan" and is "mlp"'),
        (
            {"train.critic_optimizer.learning_rate": {**SPANNING, "over_images": 96}},
            "train.critic_optimizer.learning_rate was 0.0004 and is {",
        ),
        (
            {"augmentation.critic": {"policy": "diffaugment", "colour": True, "translation": 0.1, "cutout": 0.5}},
            'augmentation.critic.policy was "none" and is "diffaugment"',
        ),
    ],
)
def test_what_keeps_a_checkpoint_from_being_used_is_named_in_one_line(changes: dict, line: str, tmp_path: Path) -> None:
    interrupted(tiny_config({}), tmp_path, at=64)
    state, found, told = resumed(tiny_config(changes), tmp_path)
    assert (found, state.seen_images) == (False, 0)
    assert len(told) == 1
    assert told[0].startswith("starting at 0 images shown: the checkpoint at 48 images shown is of another training: ")
    assert line in told[0]
    assert "\n" not in told[0]
    assert "init_from" not in told[0]  # there is no generator yet


def test_a_length_that_schedules_follow_is_named_with_the_way_to_go_on(tmp_path: Path) -> None:
    changes = {"train.critic_optimizer.learning_rate": SPANNING}
    finished(tiny_config(changes), tmp_path)
    _, found, told = resumed(tiny_config({**changes, "train.total_images": 192}), tmp_path)
    assert not found
    assert told == [
        "starting at 0 images shown: the checkpoint at 96 images shown is of another training: "
        "train.total_images was 96 and is 192, which schedules with over_images: null follow; "
        "to go on from its generator, set train.init_from"
    ]


@pytest.mark.parametrize(
    ("surroundings", "line"),
    [
        ({"device": torch.device("cuda")}, "device type was cpu and is cuda"),
        ({"digests": {**DIGESTS, "training code": "1"}}, "training code changed"),
        ({"digests": {"training images": "1", "training code": "1"}}, "training images changed; training code changed"),
        ({"image": IMAGE.model_copy(update={"classes": ("a", "b", "d")})}, "class names changed"),
    ],
)
def test_surroundings_are_named_in_words(surroundings: dict, line: str, tmp_path: Path) -> None:
    config = tiny_config({})
    usual = {"image": IMAGE, "device": CPU, "digests": DIGESTS}
    state = start(config)
    state.seen_images = 48
    CheckpointStore(tmp_path, Ingredients.of(config, **usual), config.train).save(state.state_dict())
    told: list[str] = []
    store = CheckpointStore(tmp_path, Ingredients.of(config, **usual | surroundings), config.train)
    assert not store.resume(start(config), notify=told.append)
    assert told == [f"starting at 0 images shown: the checkpoint at 48 images shown is of another training: {line}"]


def test_another_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tiny_config({}), tmp_path, at=32)
    here = torch.__version__
    monkeypatch.setattr(torch, "__version__", "3.0.0")
    _, found, told = resumed(tiny_config({}), tmp_path)
    assert not found
    assert told[0].endswith(f"torch was {here} and is 3.0.0")


def test_of_several_trainings_the_nearest_one_is_named(tmp_path: Path) -> None:
    interrupted(tiny_config({}), tmp_path, at=64)
    interrupted(tiny_config({"train.seed": 3, "train.ema_ramp": 0.5}), tmp_path, at=32)
    _, _, told = resumed(tiny_config({"train.seed": 1}), tmp_path)
    assert told[0].endswith("at 48 images shown is of another training: train.seed was 0 and is 1")


@pytest.mark.parametrize(
    ("name", "value", "alike"),
    [
        ("train.device", "auto", True),
        ("train.log_every_images", 8, True),
        ("train.total_images", 192, True),
        ("train.alarms.critic_won", None, True),
        ("evaluate.seed", 5, True),
        ("train.measure_every_images", 80, False),
        ("train.batch_size", 16, False),
        ("data.image_size", 32, True),  # what counts is the data's own
    ],
)
def test_the_address_moves_only_with_the_bits(name: str, value: object, alike: bool) -> None:
    one, other = (Ingredients.of(tiny_config(changes), IMAGE, CPU, {}).address() for changes in ({}, {name: value}))
    assert (one == other) is alike


def test_old_trainings_go_and_are_named_but_never_one_in_use(tmp_path: Path) -> None:
    stores = [store_of(tiny_config({"train.seed": seed}), tmp_path) for seed in range(KEPT_TRAININGS + 3)]
    values = start(tiny_config({})).state_dict()
    for age, store in enumerate(stores):
        store.save({**values, "seen_images": 8 * age})
        os.utime(store.home, (1e9 + age, 1e9 + age))
    (tmp_path / "empty").mkdir()
    *_, newest = stores
    with stores[0].in_use(), newest.in_use():
        for age, store in enumerate(stores):
            os.utime(store.home, (1e9 + age, 1e9 + age))
        told = list(newest.remove_old_trainings())
    assert told == [
        f"removed an older training's checkpoint at {8 * age} images shown; "
        f"the newest {KEPT_TRAININGS} trainings are kept"
        for age in (1, 2)
    ]
    assert [store.home.exists() for store in stores] == [True, False, False] + [True] * KEPT_TRAININGS
    assert not (tmp_path / "empty").exists()
    assert list(newest.remove_old_trainings()) == [
        f"removed an older training's checkpoint at 0 images shown; the newest {KEPT_TRAININGS} trainings are kept"
    ]
