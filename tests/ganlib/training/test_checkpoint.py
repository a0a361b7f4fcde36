"""Checkpoints: damaged or foreign ones are passed over with a line, never used."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.state import TrainState, initial_state
from tests.configs import tiny_config
from tests.toy_training import IMAGE, store_of


@pytest.fixture
def state() -> TrainState:
    return initial_state(tiny_config({}), IMAGE, torch.device("cpu"))


@pytest.fixture
def store(tmp_path: Path, state: TrainState) -> CheckpointStore:
    store = keeping(2, tmp_path)
    for state.seen_images in (100, 200, 300):
        store.save(state.state_dict())
    return store


def load(store: CheckpointStore) -> tuple[int | None, list[str]]:
    fresh, notices = initial_state(tiny_config({}), IMAGE, torch.device("cpu")), []
    found = store.load_latest(fresh, notify=notices.append)
    return (fresh.seen_images if found else None), notices


def test_the_newest_is_used_and_old_ones_go(store: CheckpointStore) -> None:
    assert load(store) == (300, [])
    assert [path.name for path in sorted(store.home.glob("[0-9]*"))] == ["000000000200", "000000000300"]


def damage_truncated(path: Path) -> None:
    content = (path / "state.pt").read_bytes()
    (path / "state.pt").write_bytes(content[: len(content) // 2])


def damage_flipped(path: Path) -> None:
    content = bytearray((path / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "state.pt").write_bytes(content)


def damage_missing(path: Path) -> None:
    (path / "state.pt").unlink()


def damage_manifest(path: Path) -> None:
    (path / "manifest.json").write_text("{", encoding="utf-8")


def damage_foreign(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    (path / "manifest.json").write_text(
        json.dumps({**manifest, "ingredients": {**manifest["ingredients"], "digests": {"a": "b"}}}), encoding="utf-8"
    )


@pytest.mark.parametrize("damage", [damage_truncated, damage_flipped, damage_missing, damage_manifest, damage_foreign])
def test_a_bad_checkpoint_is_named_and_the_one_before_it_used(store: CheckpointStore, damage) -> None:
    damage(store.home / "000000000300")
    seen_images, notices = load(store)
    assert seen_images == 200
    assert len(notices) == 1
    assert "000000000300" in notices[0]
    assert "\n" not in notices[0]


def test_half_written_leftovers_do_not_count(store: CheckpointStore) -> None:
    shutil.copytree(store.home / "000000000300", store.home / ".000000000400.partial")
    shutil.rmtree(store.home / "000000000300")
    assert load(store) == (200, [])


def test_run_key_lives_as_long_as_the_training(store: CheckpointStore) -> None:
    key = store.run_key()
    assert store.run_key() == key
    store.finish()
    assert store.run_key() != key


def test_when_none_is_sound_it_says_so(store: CheckpointStore) -> None:
    for path in store.home.glob("[0-9]*"):
        (path / "manifest.json").write_text("[]", encoding="utf-8")
    seen_images, notices = load(store)
    assert seen_images is None
    assert len(notices) == 3
    assert notices[-1] == "no usable checkpoint is left"


def test_a_stop_serves_to_go_on_but_not_to_roll_back(tmp_path: Path) -> None:
    store, state = keeping(1, tmp_path), fresh()
    for seen_images, on_request in ((8, False), (12, True)):
        state.seen_images = seen_images
        store.save(state.state_dict(), milestone=not on_request)
    assert names(store) == ["000000000008", "000000000012-stop"]
    resumed = fresh()
    assert store.load_latest(resumed, notify=pytest.fail)
    assert resumed.seen_images == 12
    assert store.load_latest(resumed, notify=pytest.fail, stops_too=False)
    assert resumed.seen_images == 8
    state.seen_images = 16
    store.save(state.state_dict())
    assert names(store) == ["000000000016"]


def test_a_new_checkpoint_replaces_a_damaged_future(tmp_path: Path) -> None:
    """Were it kept because its number is higher, `keep` would drop the sound one."""
    store, state = keeping(1, tmp_path), fresh()
    state.seen_images = 80
    (store.save(state.state_dict()) / "state.pt").write_bytes(b"damaged")
    state.seen_images = 8
    store.save(state.state_dict())
    assert names(store) == ["000000000008"]


def fresh() -> TrainState:
    return initial_state(tiny_config({}), IMAGE, torch.device("cpu"))


def keeping(count: int, folder: Path) -> CheckpointStore:
    return store_of(tiny_config({"train.keep_checkpoints": count, "train.total_images": 400}), folder)


def names(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in store.home.glob("[0-9]*"))
