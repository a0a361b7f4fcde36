"""Checkpoints that a thread writes: exactly the moment of the call, none lost, no failure unheard."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from ganlib.errors import TrainingInterrupted, UserError
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.checkpoint_writer import CheckpointWriter
from pipelines.stages.shell import plain_errors
from tests.configs import tiny_config
from tests.full_disk import full_disk
from tests.toy_training import digest, go_on, start, store_of

CONFIG = tiny_config({"train.total_images": 88})  # checkpoints after 24, 48 and 72 images, then at the end
PATIENCE_S = 20.0
SAVE = CheckpointStore.save


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing takes far longer than an iteration."""

    def save(store: CheckpointStore, *values, **options) -> Path:
        time.sleep(0.3)
        return SAVE(store, *values, **options)

    monkeypatch.setattr(CheckpointStore, "save", save)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in store_of(CONFIG, folder).home.glob("[0-9]*"))


def test_training_goes_on_while_a_checkpoint_of_its_own_moment_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, then, gone_on = start(CONFIG), [], threading.Event()

    def save(store: CheckpointStore, *values, **options) -> Path:
        assert gone_on.wait(PATIENCE_S), "training waited for the write"
        return SAVE(store, *values, **options)

    def watch() -> bool:
        if state.seen_images == 24:
            then.append(digest(state))
        if state.seen_images == 40:
            gone_on.set()
        return state.seen_images == 40

    monkeypatch.setattr(CheckpointStore, "save", save)
    with pytest.raises(TrainingInterrupted):
        go_on(state, CONFIG, tmp_path, should_stop=watch)
    found = start(CONFIG)
    assert store_of(CONFIG, tmp_path).load_latest(found, notify=pytest.fail, stops_too=False)
    assert [digest(found)] == then != [digest(state)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_what_is_written_is_what_was_there_when_it_was_asked_for(device: str, tmp_path: Path) -> None:
    store, tensor = store_of(CONFIG, tmp_path), torch.zeros(2**22, device=device)
    with CheckpointWriter(store) as writer:
        writer.save({"seen_images": 8, "tensors": [tensor]}, milestone=True)
        tensor.add_(1)
    (found,) = torch.load(store.home / "000000000008" / "state.pt")["tensors"]
    assert found.device.type == "cpu"
    assert not found.any()


@pytest.mark.usefixtures("slow")
def test_a_stop_and_the_end_wait_for_the_write(tmp_path: Path) -> None:
    state = start(CONFIG)
    with pytest.raises(TrainingInterrupted):
        go_on(state, CONFIG, tmp_path, should_stop=lambda: state.seen_images == 56)
    assert names(tmp_path)[-1] == "000000000056-stop"
    go_on(state, CONFIG, tmp_path)
    assert names(tmp_path)[-1] == "000000000088-stop"


@pytest.mark.usefixtures("slow")
def test_a_rollback_finds_the_checkpoint_that_is_being_written(tmp_path: Path) -> None:
    config, poisoned = tiny_config({"train.on_divergence": "rollback", "train.total_images": 88}), []
    state, events = start(config), []

    def poison_once() -> bool:
        if state.seen_images == 24 and not poisoned:
            poisoned.append(24)
            with torch.no_grad():
                state.partner_learner.parameters[0].fill_(torch.nan)
        return False

    go_on(state, config, tmp_path, events=events, should_stop=poison_once)
    assert any("rolled back to 24 images shown" in getattr(event, "text", "") for event in events)


def test_a_write_that_fails_ends_the_training_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    state, disk = start(CONFIG), ExitStack()

    def fill_disk() -> bool:
        if state.seen_images == 40:
            disk.enter_context(full_disk(limit_bytes=5000))
        if state.seen_images > 48:
            time.sleep(0.2)
        return False

    with disk, pytest.raises(UserError, match="most likely because the disk is full"), plain_errors("train"):
        go_on(state, CONFIG, tmp_path, should_stop=fill_disk)
    assert 48 < state.seen_images < 72, "heard before the next checkpoint"
    assert names(tmp_path) == ["000000000024"]
    assert store_of(CONFIG, tmp_path).load_latest(start(CONFIG), notify=pytest.fail)


@pytest.mark.parametrize("go_on", [CheckpointWriter.wait, lambda writer: writer.save({}, milestone=True), None])
def test_a_failure_is_told_by_whatever_comes_next(
    go_on: Callable[[CheckpointWriter], None] | None, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("stands where the folder should")

    def write() -> None:
        with CheckpointWriter(store_of(CONFIG, tmp_path / "file")) as writer:
            writer.save(start(CONFIG).state_dict(), milestone=True)
            if go_on is not None:
                go_on(writer)
                pytest.fail("unheard")

    with pytest.raises(NotADirectoryError):
        write()
