"""The loop against itself: determinism, exact resume, and what it refuses."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.config import ImageSpec, RunConfig
from ganlib.errors import TrainingDiverged
from ganlib.events import Event, Picture, Scalars
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.device import prepare_device
from ganlib.training.loop import Objective, train
from ganlib.training.state import TrainState, initial_state
from tests.configs import tiny_config

IMAGE = ImageSpec(size=16, channels=1, classes=("a", "b", "c"))


class Interrupted(Exception):
    """Stands for the kill of the process."""


def batches(seen_images: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seen_images)
    labels = draw.integers(0, 3, 8)
    images = draw.integers(0, 60, (8, 16, 16, 1)) + 70 * labels[:, None, None, None]
    return images.astype(np.uint8), labels.astype(np.int64)


def brightness(images: np.ndarray) -> float:
    return abs(float(images.mean()) - 100.0)


def start(config: RunConfig) -> TrainState:
    return initial_state(config, IMAGE, prepare_device(config.train))


def go_on(state: TrainState, config: RunConfig, folder: Path, *, stop_after: int | None = None, events=None) -> None:
    store = CheckpointStore(folder, "test", config.train.keep_checkpoints)

    def until(seen_images: int) -> tuple[np.ndarray, np.ndarray]:
        if stop_after is not None and seen_images >= stop_after:
            raise Interrupted
        return batches(seen_images)

    train(
        state,
        until,
        Objective(config.loss, "domain/fid", brightness),
        config.train,
        IMAGE,
        store,
        conditional=config.network.conditional,
        on_event=(lambda _event: None) if events is None else events.append,
    )


def digest(state: TrainState) -> str:
    """Of every tensor and number in the state."""
    whole = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            whole.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                whole.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            whole.update(repr(value).encode())

    add(state.state_dict())
    return whole.hexdigest()


RECIPES = {
    "dcgan hinge": {},
    "dcgan batch norm critic": {"network.critic_norm": "batch", "loss.adversarial": "non_saturating"},
    "dcgan unconditional penalised": {
        "network.conditional": False,
        "network.critic_norm": "none",
        "loss.adversarial": "relativistic",
        "loss.r1_gamma": 0.3,
        "loss.r2_gamma": 0.3,
    },
    "dcgan contiguous bf16": {"train.memory_format": "contiguous", "train.precision": "bf16"},
    "r3gan": {"network": "r3gan", "loss.adversarial": "relativistic", "loss.r1_gamma": 1.0, "loss.r2_gamma": 1.0},
}


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES.keys())
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(changes: dict, tmp_path: Path) -> None:
    # 11 steps of 8 images; checkpoints after 24, 48 and 72; log points every 32 straddle them.
    config = tiny_config({**changes, "train.total_images": 88})
    whole = start(config)
    go_on(whole, config, tmp_path / "whole")

    resumed = start(config)
    with pytest.raises(Interrupted):
        go_on(resumed, config, tmp_path / "parts", stop_after=64)
    resumed = start(config)
    notices: list[str] = []
    assert CheckpointStore(tmp_path / "parts", "test", 2).load_latest(resumed, notify=notices.append)
    assert resumed.seen_images == 48
    go_on(resumed, config, tmp_path / "parts")

    assert digest(resumed) == digest(whole)
    assert not notices


def test_same_seed_same_bits_and_other_seed_other_bits(tmp_path: Path) -> None:
    digests = []
    for run, seed in enumerate((0, 0, 1)):
        config = tiny_config({"train.seed": seed})
        state = start(config)
        go_on(state, config, tmp_path / str(run))
        digests.append(digest(state))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_the_deterministic_switch_repeats_the_bits(precision: str, tmp_path: Path) -> None:
    digests = []
    for run in range(2):
        config = tiny_config({"train.device": "cuda", "train.precision": precision})
        state = start(config)
        go_on(state, config, tmp_path / str(run))
        digests.append(digest(state))
    assert digests[0] == digests[1]


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    config = tiny_config({})
    state = start(config)
    go_on(state, config, tmp_path)
    store = CheckpointStore(tmp_path, "test", 2)
    kept = sorted(path.name for path in store.home.glob("[0-9]*"))

    config = tiny_config({"train.total_images": config.train.total_images + 64})
    with torch.no_grad():
        next(state.critic.parameters()).fill_(math.nan)
    with pytest.raises(TrainingDiverged, match=r"loss/critic is nan at \d+ images shown.*learning_rate") as caught:
        go_on(state, config, tmp_path)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in store.home.glob("[0-9]*")) == kept
    sound = start(config)
    assert store.load_latest(sound, notify=lambda text: pytest.fail(text))
    assert all(bool(torch.isfinite(p).all()) for p in sound.critic.parameters())


def test_best_snapshot_is_the_lowest_score_and_events_tell_everything(tmp_path: Path) -> None:
    config = tiny_config({})
    state = start(config)
    events: list[Event] = []
    go_on(state, config, tmp_path, events=events)
    scores = [e.values["domain/fid"] for e in events if isinstance(e, Scalars) and "domain/fid" in e.values]
    assert state.best is not None
    assert state.best.score == min(scores)
    assert [row["domain/fid"] for row in state.history if "domain/fid" in row] == scores
    pictures = [e for e in events if isinstance(e, Picture)]
    assert pictures[-1].pixels.dtype == np.uint8
    assert pictures[-1].pixels.shape == ((8 * 17 - 1) * 2, (3 * 17 - 1) * 2, 1)
    logged = [e for e in events if isinstance(e, Scalars) and "speed/images_per_s" in e.values]
    assert logged[-1].seen_images == config.train.total_images
    assert logged[-1].values["speed/images_per_s"] > 0


def test_batch_size_moves_no_milestone(tmp_path: Path) -> None:
    """The clock counts images: events fall on the same counts whatever the batch."""
    config = tiny_config({"train.total_images": 96})
    events: list[Event] = []
    go_on(start(config), config, tmp_path, events=events)
    assert [e.seen_images for e in events if isinstance(e, Picture)] == [48, 96]
