import math

import numpy as np
import pytest
import torch

from ganlib.augmentation.colour import draw_colour, recolour

OFF = (0.999, 0.5)


def draws(channels: int, **values: float) -> torch.Tensor:
    """One row in which the named transformations are chosen (p = 1/2) with the given uniform numbers."""
    names = ("brightness", "contrast", "flip", "hue", "saturation")[: 3 if channels == 1 else 5]
    row = [(0.1, values[name]) if name in values else OFF for name in names]
    return torch.tensor(row, dtype=torch.float64).view(1, -1)


def coloured(images: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    return recolour(images, draw_colour(uniform, torch.tensor(0.5, dtype=torch.float64)))


def gaussian(uniform: float) -> float:
    return torch.special.ndtri(torch.tensor(uniform, dtype=torch.float64)).item()


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(1, 3, 3, 3, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_and_contrast(images, channels):
    images = images[:, :channels]
    torch.testing.assert_close(coloured(images, draws(channels, brightness=0.8)), images + 0.2 * gaussian(0.8))
    torch.testing.assert_close(coloured(images, draws(channels, contrast=0.2)), images * 2 ** (0.5 * gaussian(0.2)))


def test_saturation_scales_about_the_grey_part(images):
    grey = images.mean(dim=1, keepdim=True)
    expected = grey + (images - grey) * 2 ** gaussian(0.3)
    torch.testing.assert_close(coloured(images, draws(3, saturation=0.3)), expected)


def test_luma_flip_mirrors_the_grey_part(images):
    grey = images.mean(dim=1, keepdim=True)
    torch.testing.assert_close(coloured(images, draws(3, flip=0.4)), images - 2 * grey)
    assert torch.equal(coloured(images, draws(3, flip=0.6)), images)
    assert torch.equal(coloured(images[:, :1], draws(1, flip=0.4)), -images[:, :1])


def test_third_of_a_turn_in_hue_exchanges_the_channels(images):
    # Rotated by 120 degrees around (1, 1, 1), red becomes green, green blue and blue red.
    third = (2 * math.pi / 3 / math.pi + 1) / 2
    torch.testing.assert_close(coloured(images, draws(3, hue=third)), images.roll(1, dims=1))


def test_all_together_are_the_published_product_of_matrices(images):
    values = {"brightness": 0.7, "contrast": 0.1, "flip": 0.2, "hue": 0.77, "saturation": 0.6}
    axis = np.array([1, 1, 1, 0]) / math.sqrt(3)
    luma, last = np.outer(axis, axis), np.diag([0, 0, 0, 1.0])
    brightness = np.eye(4)
    brightness[:3, 3] = 0.2 * gaussian(values["brightness"])
    contrast = 2 ** (0.5 * gaussian(values["contrast"])) * np.diag([1, 1, 1, 0]) + last
    turn, cross = (2 * values["hue"] - 1) * math.pi, np.zeros((4, 4))
    cross[:3, :3] = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    chroma = np.eye(4) - luma - last
    hue = luma + last + math.cos(turn) * chroma + math.sin(turn) * cross
    saturation = luma + last + 2 ** gaussian(values["saturation"]) * chroma
    product = saturation @ hue @ (np.eye(4) - 2 * luma) @ contrast @ brightness
    pixels = np.concatenate([images[0].flatten(1).numpy(), np.ones((1, 9))])
    expected = torch.from_numpy((product @ pixels)[:3]).view_as(images)
    torch.testing.assert_close(coloured(images, draws(3, **values)), expected)


def test_alpha_is_not_coloured(images):
    alpha = torch.rand(1, 1, 3, 3, dtype=torch.float64)
    uniform = draws(3, brightness=0.9, hue=0.1)
    found = coloured(torch.cat([images, alpha], dim=1), uniform)
    assert torch.equal(found[:, 3:], alpha)
    assert torch.equal(found[:, :3], coloured(images, uniform))


def test_each_is_chosen_with_the_probability():
    torch.manual_seed(0)
    count, probability = 20_000, 0.2
    colour = draw_colour(torch.rand(count, 10), torch.tensor(probability))
    untouched = (colour.linear == torch.eye(3)).all(dim=(1, 2)) & (colour.offset == 0)
    # Untouched: four of five not chosen, and the flip not chosen or tails.
    expected = (1 - probability) ** 4 * (1 - probability / 2)
    assert abs(untouched.float().mean() - expected) < 4 * (0.25 / count) ** 0.5
    bright = (colour.offset != 0).float().mean()
    assert abs(bright - probability) < 4 * (0.25 / count) ** 0.5
