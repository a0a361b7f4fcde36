"""A saved generator: same bytes, same pictures, and refusals in one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.config import ImageSpec
from ganlib.errors import UserError
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator, generator_sha256
from tests.configs import tiny_config

IMAGE = ImageSpec(size=16, channels=3, classes=("ant", "bee", "cat"))


def make(changes: dict | None = None, image: ImageSpec = IMAGE) -> ImageGenerator:
    torch.manual_seed(0)
    network = tiny_config(changes or {}).network
    return ImageGenerator(build_generator(network, image), network, image, {"seen_images": 1})


@pytest.mark.parametrize("changes", [{}, {"network.conditional": False}, {"network": "r3gan"}])
def test_round_trip_keeps_bytes_and_pictures(changes: dict, tmp_path: Path) -> None:
    made = make(changes)
    made.save(tmp_path / "one")
    loaded = ImageGenerator.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    assert generator_sha256(tmp_path / "one") == generator_sha256(tmp_path / "two")
    images = loaded.sample(seed=3, count=5)
    assert images.dtype == np.uint8
    assert images.shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(images, made.sample(seed=3, count=5))
    assert (images != loaded.sample(seed=4, count=5)).any()


def test_labels_choose_classes_and_truncation_narrows(tmp_path: Path) -> None:
    made = make()
    turns, chosen = made.sample(seed=0, count=6), made.sample(seed=0, labels=[0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(turns, chosen)
    wide, narrow = made.sample(seed=0, labels=[0] * 64), made.sample(seed=0, labels=[0] * 64, truncation=0.05)
    assert narrow.std(axis=0).mean() < wide.std(axis=0).mean() / 2


def test_a_longer_draw_starts_with_the_shorter_one() -> None:
    made = make({"network.conditional": False})
    longer, shorter = made.sample(seed=7, count=20), made.sample(seed=7, count=4)
    assert np.abs(longer[:4].astype(int) - shorter).max() <= 1


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({}, "either count or labels"),
        ({"count": 1, "labels": [0]}, "either count or labels"),
        ({"count": 0}, "found 0 images"),
        ({"labels": [3]}, "labels: found 3, expected 0 to 2"),
        ({"count": 1, "truncation": 0.0}, "truncation: found 0.0"),
        ({"count": 1, "truncation": 1.1}, "truncation: found 1.1"),
    ],
)
def test_impossible_requests(request_: dict, line: str) -> None:
    with pytest.raises(UserError, match=line):
        make().sample(seed=0, **request_)


def test_labels_of_an_unconditional_generator() -> None:
    with pytest.raises(UserError, match="unconditional"):
        make({"network.conditional": False}).sample(seed=0, labels=[1])


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "rubbish"])
def test_damaged_files_are_one_line(name: str, damage: str, tmp_path: Path) -> None:
    make().save(tmp_path)
    path = tmp_path / name
    match damage:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:50])
        case _:
            path.write_bytes(b"\xff\xfe rubbish")
    with pytest.raises(UserError) as caught:
        ImageGenerator.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_generator_needs_no_metric_library() -> None:
    """What a served model imports must not pull torchvision or torch-fidelity."""
    heavy = "('torchvision', 'torch_fidelity', 'mlflow')"
    code = f"import sys, ganlib.packaging; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
