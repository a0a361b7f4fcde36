"""The translator and the critic of patches."""

import pytest
import torch

from ganlib.config import UnetOptions
from ganlib.networks import build_critic, build_generator
from ganlib.networks.unet import UnetGenerator
from tests.ganlib.networks.families import image_spec


def options(**changes) -> UnetOptions:
    values = {
        "family": "unet", "conditional": False, "latent_dim": 5, "generator_width": 4, "generator_halvings": 2,
        "generator_residual": True, "critic_width": 4, "critic_halvings": 1,
    }  # fmt: skip
    return UnetOptions.model_validate({**values, **changes})


def generator(**changes) -> UnetGenerator:
    torch.manual_seed(0)
    made = build_generator(options(**changes), image_spec(channels=3, classes=()))
    assert isinstance(made, UnetGenerator)
    with torch.no_grad():  # else it starts as the identity
        made.output.weight.normal_(std=0.3)
    return made.eval()


@pytest.mark.parametrize("size", [16, 24, 64])
def test_any_size_comes_out_as_it_went_in_and_the_latent_matters(size: int) -> None:
    made, images, latents = generator(), torch.randn(2, 3, size, size + 8), torch.randn(2, 5)
    found = made(latents, images)
    assert found.shape == images.shape
    assert not torch.allclose(found, made(-latents, images))


def test_a_residual_translator_starts_with_the_image_as_it_came() -> None:
    fresh = build_generator(options(), image_spec(channels=3, classes=()))
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(fresh(torch.randn(2, 5), images), images)


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_a_pixel_depends_on_the_input_within_reach_alone(halvings: int) -> None:
    made = generator(generator_halvings=halvings)
    side = 4 * made.multiple * -(-made.reach_px // made.multiple)
    images = torch.randn(1, 3, side, side, requires_grad=True)
    middle = side // 2
    made(torch.randn(1, 5), images)[0, :, middle, middle].sum().backward()
    assert images.grad is not None
    places = images.grad.abs().sum(dim=(0, 1)).nonzero()
    assert int((places - middle).abs().max()) <= made.reach_px


def test_a_critic_of_patches_sees_both_images() -> None:
    critic = build_critic(options(), image_spec(channels=3, classes=())).eval()
    images, given = torch.randn(2, 2, 3, 16, 16).unbind()
    logits = critic(images, given)
    assert logits.shape == (2, 64)
    assert critic.embed(images, given).shape == (2, critic.feature_dim)
    assert not torch.allclose(critic(images, -given), logits)
    changed = images.clone()
    changed[:, :, :2, :2] += 1  # a patch in the other corner sees nothing of it
    assert torch.equal(critic(changed, given)[:, -1], logits[:, -1])
