"""Latents are found: those of a closed form, those that made an image, whatever lies beside it."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ganlib.config import ImageSpec, ReconstructionOptions
from ganlib.errors import UserError
from ganlib.inversion.projection import Reconstruction, reconstruct
from ganlib.metrics.classifier import to_input
from ganlib.networks import build_critic, build_generator
from ganlib.packaging import ImageGenerator
from ganlib.sampling import balanced_labels, render, seeded_latents
from tests.configs import tiny_config
from tests.toy_evaluation import CENTRES, LATENTS, PIXELS, PLANE, REACH, image_generator, real_images


def options_of(**changes: Any) -> ReconstructionOptions:
    named = {"candidates": 96, "steps": 120, "batch_size": 4, **changes}
    return tiny_config(
        {f"evaluate.reconstruction.{name}": value for name, value in named.items()}
    ).evaluate.reconstruction


find = partial(reconstruct, seed=0, notify=print)


@pytest.fixture(scope="module")
def network() -> ImageGenerator:
    return network_of(channels=1)


def network_of(*, channels: int) -> ImageGenerator:
    config = tiny_config({})
    image = ImageSpec(size=16, channels=channels, classes=("a", "b", "c"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build_generator(config.network, image)
    generator.output.weight.data.mul_(10)  # untrained, its images are nearly grey
    return ImageGenerator(generator, config.network, image, {"seen_images": 1})


@pytest.mark.parametrize("prior_weight", [0.0, 0.05])
def test_of_a_linear_generator_the_closed_form_is_found(prior_weight: float) -> None:
    images, labels = real_images(20, 3)
    images = images.copy()
    images[0] = 255 - images[0]  # none of its own
    classes = torch.from_numpy(labels)
    found = find(image_generator(), images, options_of(prior_weight=prior_weight, steps=300), labels=classes)
    offsets = to_input(images, torch.device("cpu")).flatten(1) - CENTRES[classes]
    ridge = prior_weight * PIXELS / LATENTS
    torch.testing.assert_close(found.latents, REACH * offsets @ PLANE.T / (REACH**2 + ridge), rtol=0, atol=0.01)
    assert found.labels is not None
    assert torch.equal(found.labels, classes)


def test_classes_are_inferred_and_unconditional_generators_have_none() -> None:
    images, labels = real_images(60, 4)
    found = find(image_generator(), images, options_of())
    assert found.labels is not None
    # Pixels are rounded and the planes are parallel: nothing but the centres tells the classes apart.
    assert float((found.labels.numpy() == labels).mean()) > 0.95
    alone = image_generator(conditional=False)
    assert find(alone, images[labels == 0], options_of()).labels is None


@pytest.mark.parametrize("channels", [1, 3])
def test_own_samples_are_found_and_what_is_returned_is_what_the_latents_make(channels: int) -> None:
    network = network_of(channels=channels)
    labels = balanced_labels(12, 3)
    images = render(network.generator, seeded_latents(12, 8, 5), labels, batch_size=12)
    found = find(network, images, options_of(prior_weight=1e-5), labels=labels)
    again = render(network.generator, found.latents, found.labels, batch_size=256)
    np.testing.assert_array_equal(found.images, again)
    error = np.square(found.images.astype(float) - images).mean(axis=(1, 2, 3))
    assert (error < images.astype(float).var(axis=0).mean() / 100).all()


@pytest.mark.parametrize("feature_weight", [0.0, 0.1])
def test_an_image_is_found_alike_alone_and_among_others(network: ImageGenerator, feature_weight: float) -> None:
    config = tiny_config({})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        critic = build_critic(config.network, network.image)
    options = options_of(starts=3, steps=10, feature_weight=feature_weight)
    images = render(network.generator, seeded_latents(11, 8, 6), balanced_labels(11, 3), batch_size=11)
    together = find(network, images, options, critic=critic)
    for rows in ([0], [10], [7, 2]):
        apart = find(network, images[rows], options, critic=critic)
        assert torch.equal(apart.latents, together.latents[rows])
    assert critic.training  # as it was
    other = reconstruct(network, images, options, seed=1, critic=critic, notify=print)
    assert not torch.equal(other.latents, together.latents)


def test_more_weight_on_features_brings_them_nearer(network: ImageGenerator) -> None:
    config = tiny_config({})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        critic = build_critic(config.network, network.image).eval()
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), dtype=np.uint8)
    labels = balanced_labels(6, 3)

    def apart(found: Reconstruction) -> float:
        one, other = (critic.embed(to_input(each, torch.device("cpu")), labels) for each in (images, found.images))
        return float((one - other).norm().detach())

    without, with_them = (
        apart(find(network, images, options_of(feature_weight=weight), labels=labels, critic=critic))
        for weight in (0.0, 10.0)
    )
    assert with_them < without


def test_half_precision_finds_nearly_the_same() -> None:
    images, labels = real_images(8, 3)
    classes = torch.from_numpy(labels)
    exact, half = (
        find(image_generator(), images, options_of(precision=precision), labels=classes)
        for precision in ("fp32", "bf16")
    )
    torch.testing.assert_close(half.latents, exact.latents, rtol=0, atol=0.1)


def test_what_cannot_be_searched_for_is_one_line(network: ImageGenerator) -> None:
    images = np.zeros((2, 16, 16, 1), np.uint8)
    with pytest.raises(UserError, match=r"^labels: expected 0 to 2, found 1 to 3$"):
        find(network, images, options_of(), labels=torch.tensor([3, 1]))
    with pytest.raises(UserError, match=r"^images: found none"):
        find(network, images[:0], options_of())
    with pytest.raises(UserError, match=r"^labels: this generator is unconditional"):
        find(image_generator(conditional=False), real_images(2, 0)[0], options_of(), labels=torch.tensor([0, 0]))
    with pytest.raises(UserError, match=r"^evaluate.reconstruction.candidates=10: .* at least 12$"):
        find(network, images, options_of(candidates=10))
    with pytest.raises(UserError, match=r"^evaluate.reconstruction.feature_weight=0.5 needs the critic"):
        find(network, images, options_of(feature_weight=0.5))
