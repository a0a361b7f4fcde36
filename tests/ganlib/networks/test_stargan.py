"""The translator into several styles and its critic."""

from itertools import pairwise

import torch

from ganlib.networks import StarCritic, StarGenerator, build_critic, build_generator
from tests.configs import STYLES, tiny_config
from tests.ganlib.networks.families import image_spec

OPTIONS = tiny_config(STYLES).network


def test_each_style_is_another_image_and_the_ways_share_their_weights() -> None:
    torch.manual_seed(0)
    made = build_generator(OPTIONS, image_spec(channels=3, classes=()))
    assert isinstance(made, StarGenerator)
    assert (made.latent_dim, made.num_ways) == (4, 4)
    latents, images = torch.randn(4, 4), torch.randn(1, 3, 16, 16).expand(4, 3, 16, 16)
    each = torch.cat([made.way(style)(latents[style : style + 1], images[:1]) for style in range(4)])
    torch.testing.assert_close(made.styled(latents, images, torch.arange(4)), each)
    torch.testing.assert_close(made(latents, images), made.way(0)(latents, images))
    same = [made.way(style)(latents[:1], images[:1]) for style in range(4)]
    assert all(not torch.equal(one, other) for one, other in pairwise(same))
    made.way(2)(latents, images).sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_the_critic_tells_styles_by_what_it_judges_by() -> None:
    critic = build_critic(OPTIONS, image_spec(channels=3, classes=())).eval()
    assert isinstance(critic, StarCritic)
    images = torch.randn(2, 3, 16, 16)
    assert critic(images, None).shape == (2, 64)
    torch.testing.assert_close(critic.styles(images), critic.style(critic.embed(images, None)))
    assert critic.styles(images).shape == (2, 4)
