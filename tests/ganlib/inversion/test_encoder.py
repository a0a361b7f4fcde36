"""An encoder learns where a generator's samples come from, always alike, and shortens the search."""

from typing import Any

import numpy as np
import pytest
import torch

from ganlib.config import EncoderOptions, ImageSpec
from ganlib.errors import TrainingInterrupted, UserError
from ganlib.events import Event, Progress, Scalars, ignore
from ganlib.inversion.encoder import train_encoder
from ganlib.inversion.projection import encoded, reconstruct
from ganlib.metrics.classifier import to_input
from ganlib.networks import build_critic, build_encoder, build_generator
from ganlib.networks.base import Critic
from ganlib.networks.encoder import Encoder
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, balanced_labels, render, seeded_latents
from tests.configs import tiny_config

CONFIG = tiny_config({})
IMAGE = ImageSpec(size=16, channels=1, classes=("a", "b", "c"))
SEARCH = CONFIG.evaluate.reconstruction.model_copy(update={"candidates": 96, "starts": 2, "steps": 5, "batch_size": 8})


def options_of(**changes: Any) -> EncoderOptions:
    named = {
        "total_images": 4800, "batch_size": 32, "learning_rate": 0.005, "pixel_weight": 10.0, "feature_weight": 0.1
    }  # fmt: skip
    return EncoderOptions.model_validate(named | changes)


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def network() -> ImageGenerator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator(CONFIG.network, IMAGE)
    generator.output.weight.data.mul_(10)  # untrained, its images are nearly grey
    return ImageGenerator(generator.eval().requires_grad_(False), CONFIG.network, IMAGE, {"seen_images": 1})


@pytest.fixture(scope="module")
def critic() -> Critic:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build_critic(CONFIG.network, IMAGE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def taught(network: ImageGenerator, critic: Critic) -> tuple[Encoder, list[Event]]:
    heard: list[Event] = []
    return train_encoder(network, critic, options_of(), seed=0, should_stop=never, on_event=heard.append), heard


def samples(network: ImageGenerator) -> tuple[Images, torch.Tensor]:
    labels = balanced_labels(60, 3)
    return render(network.generator, seeded_latents(60, 8, 9), labels, batch_size=60), labels


def error(network: ImageGenerator, encoder: Encoder) -> float:
    images, labels = samples(network)
    with torch.no_grad():
        mean, _ = encoder(to_input(images, torch.device("cpu")))
    made = render(network.generator, mean, labels, batch_size=60)
    return float(np.square(made.astype(float) - images).mean())


def test_it_learns_and_tells_how_far_it_is(network: ImageGenerator, taught: tuple[Encoder, list[Event]]) -> None:
    encoder, heard = taught
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = build_encoder(CONFIG.network, IMAGE).eval()
    assert error(network, encoder) < error(network, untrained) / 4
    losses = [event.values for event in heard if isinstance(event, Scalars)]
    assert set(losses[0]) == {"encoder/latents", "encoder/pixels", "encoder/features"}
    assert all(losses[-1][name] < losses[0][name] for name in losses[0])
    progress = [event for event in heard if isinstance(event, Progress)]
    assert progress[-1].seen_images == progress[-1].total_images == 4800
    assert not encoder.training


def test_the_same_seed_gives_the_same_encoder_and_global_randomness_stays(
    network: ImageGenerator, critic: Critic
) -> None:
    found = []
    before = torch.get_rng_state()
    for seed in (3, 3, 4):
        torch.randn(1)
        state = torch.get_rng_state()
        encoder = train_encoder(
            network, critic, options_of(total_images=128), seed=seed, should_stop=never, on_event=ignore
        )
        assert torch.equal(torch.get_rng_state(), state)
        found.append(torch.cat([each.flatten() for each in encoder.state_dict().values()]))
    torch.set_rng_state(before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_it_takes_for_the_latents_is_returned_or_improved(
    network: ImageGenerator, taught: tuple[Encoder, list[Event]]
) -> None:
    encoder, _ = taught
    images, labels = samples(network)
    with torch.no_grad():
        mean, _ = encoder(to_input(images[:8], torch.device("cpu")))
    fast = reconstruct(network, images[:8], encoded(SEARCH), seed=0, labels=labels[:8], encoder=encoder, notify=print)
    assert torch.equal(fast.latents, mean)
    alone, aided = (
        reconstruct(network, images, SEARCH, seed=0, labels=labels, encoder=each, notify=print)
        for each in (None, encoder)
    )
    errors = [float(np.square(each.images.astype(float) - images).mean()) for each in (alone, aided)]
    assert errors[1] < errors[0]


def test_what_goes_wrong_is_one_line(network: ImageGenerator) -> None:
    with pytest.raises(TrainingInterrupted, match="run again"):
        train_encoder(network, None, options_of(feature_weight=0.0), seed=0, should_stop=lambda: True, on_event=ignore)
    with pytest.raises(UserError, match=r"^train.encoder.feature_weight=0.1 needs a critic"):
        train_encoder(network, None, options_of(), seed=0, should_stop=never, on_event=ignore)
    lost = options_of(feature_weight=0.0, learning_rate=1e30, total_images=96)
    with pytest.raises(UserError, match=r"^train.encoder: the loss is (nan|inf); lower train.encoder.learning_rate"):
        train_encoder(network, None, lost, seed=0, should_stop=never, on_event=ignore)
