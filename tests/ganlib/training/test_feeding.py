"""Real images on their way to the device: the same ones whichever way they take."""

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.datasets.packed.order import batch_indices
from ganlib.datasets.packed.reading import Split
from ganlib.training import feeding
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.feeding import SplitFeed
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from tests.configs import NETWORKS, TRANSLATORS, tiny_config
from tests.toy_training import IMAGE

IMAGES, BATCH = 21, 8
CPU = torch.device("cpu")
LAYOUTS = [("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)]


def split() -> Split:
    draw = np.random.default_rng(0)
    shards = [draw.integers(0, 256, (count, 16, 16, 1), dtype=np.uint8) for count in (12, 9)]
    return Split("train", "", draw.integers(0, 3, IMAGES), shards, np.cumsum([0, 12, 9]))


def recipe(**train: object) -> Recipe:
    return Recipe.of(tiny_config({f"train.{name}": value for name, value in train.items()}), IMAGE)


def feed(device: torch.device, *, ranks: Ranks = ALONE, **train: object) -> SplitFeed:
    return SplitFeed(split(), recipe(**train), ranks, device)


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_batches_are_those_of_the_order_in_the_memory_format_asked_for(name, layout):
    source = split()
    whole = np.concatenate(source._shards)
    for seen_images in (0, 8, 16):  # the last one spans two epochs
        chosen = batch_indices(seed=0, seen_images=seen_images, batch_size=BATCH, size=IMAGES)
        found = feed(CPU, memory_format=name).at(seen_images)
        expected = torch.from_numpy(whole[chosen]).permute(0, 3, 1, 2) / 127.5 - 1
        assert torch.equal(found.images, expected)
        assert found.images.is_contiguous(memory_format=layout)
        assert found.condition is not None
        assert found.condition.tolist() == source.labels[chosen].tolist()


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
@pytest.mark.parametrize("family", sorted(set(NETWORKS) - set(TRANSLATORS)))
def test_the_kernels_of_both_networks_lie_in_the_memory_format_asked_for(family, name, layout):
    state = initial_state(tiny_config({"train.memory_format": name, "network": family}), IMAGE, CPU)
    for network in (state.generator, state.partner):
        kernels = [each.weight for each in network.modules() if isinstance(each, nn.Conv2d)]
        assert all(each.is_contiguous(memory_format=layout) for each in kernels)


@pytest.mark.parametrize("balanced", [False, True])
def test_ranks_share_the_batch_in_their_order(balanced):
    whole = feed(CPU, class_balanced=balanced).at(8)
    parts = [feed(CPU, ranks=Ranks(rank, 2, rank), class_balanced=balanced).at(8) for rank in range(2)]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
    assert torch.equal(torch.cat([part.condition for part in parts]), whole.condition)


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0.0, 0.25], ids=["read ahead", "resident"])
def test_on_a_gpu_batches_are_those_of_the_cpu(share, monkeypatch):
    monkeypatch.setattr(feeding, "RESIDENT_SHARE", share)
    near, far = feed(CPU), feed(torch.device("cuda"))
    for seen_images in (0, 8, 16, 80, 88, 0):  # also where nothing was read ahead
        expected, found = near.at(seen_images), far.at(seen_images)
        assert found.images.is_cuda
        torch.testing.assert_close(found.images.cpu(), expected.images, rtol=0, atol=1e-6)
        assert torch.equal(found.condition.cpu(), expected.condition)
