import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ganlib.augmentation import build_augment
from ganlib.config import DiffAugmentOptions, ImageSpec

ONE = torch.tensor(1.0)


def augment(
    images: Tensor, draws: Tensor, *, colour: bool = False, translation: float = 0, cutout: float = 0
) -> Tensor:
    options = DiffAugmentOptions(policy="diffaugment", colour=colour, translation=translation, cutout=cutout)
    built = build_augment(options, ImageSpec(size=images.shape[2], channels=images.shape[1], classes=()))
    assert built is not None
    assert draws.shape[1] == built.draw_dim
    return built(images, draws, ONE)


def pictures(channels: int, count: int = 4, size: int = 8) -> Tensor:
    torch.manual_seed(channels)
    return torch.rand(count, channels, size, size, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_colour_is_the_published_sequence(channels):
    images, draws = pictures(channels), torch.rand(4, 3, dtype=torch.float64)
    for image, (brightness, saturation, contrast), found in zip(
        images, draws.tolist(), augment(images, draws, colour=True), strict=True
    ):
        expected = image[:3] + (brightness - 0.5)
        mean = expected.mean(dim=0)
        expected = mean + (expected - mean) * (2 * saturation)
        mean = expected.mean()
        expected = mean + (expected - mean) * (contrast + 0.5)
        torch.testing.assert_close(found[:3], expected)
        assert torch.equal(found[3:], image[3:])


@pytest.mark.parametrize("size", [8, 28])
def test_translation_moves_whole_pixels_over_zeros(size):
    images, draws = pictures(3, 50, size), torch.rand(50, 2, dtype=torch.float64)
    reach = round(size / 8)
    for image, draw, found in zip(images, draws.tolist(), augment(images, draws, translation=1 / 8), strict=True):
        down, right = (int(each * (2 * reach + 1)) - reach for each in draw)
        expected = torch.zeros_like(image)
        for row in range(size):
            for column in range(size):
                if 0 <= row - down < size and 0 <= column - right < size:
                    expected[:, row, column] = image[:, row - down, column - right]
        assert torch.equal(found, expected)


@pytest.mark.parametrize("share", [0.5, 0.4])
def test_cutout_is_a_square_that_may_stand_out(share):
    images, draws = pictures(1, 50), torch.rand(50, 2, dtype=torch.float64)
    length = int(8 * share + 0.5)
    for image, draw, found in zip(images, draws.tolist(), augment(images, draws, cutout=share), strict=True):
        top, left = (int(each * (9 - length % 2)) - length // 2 for each in draw)
        expected = image.clone()
        expected[:, max(top, 0) : top + length, max(left, 0) : left + length] = 0
        assert torch.equal(found, expected)


def test_draws_are_asked_for_what_is_on_only():
    images = pictures(3)
    with pytest.raises(ValidationError, match="everything switched off; set policy to none"):
        augment(images, torch.rand(4, 0))
    assert augment(images, torch.rand(4, 7), colour=True, translation=0.1, cutout=0.5).shape == images.shape


def test_images_do_not_depend_on_each_other():
    images, draws, order = pictures(3), torch.rand(4, 7), torch.tensor([2, 0, 3, 1])
    together = augment(images, draws, colour=True, translation=0.25, cutout=0.5)
    permuted = augment(images[order], draws[order], colour=True, translation=0.25, cutout=0.5)
    assert torch.equal(permuted, together[order])


def test_derivatives_in_float64():
    images = pictures(3, 2, 4).requires_grad_()
    draws = torch.rand(2, 7, dtype=torch.float64)

    def squared(pixels: Tensor) -> Tensor:
        return augment(pixels, draws, colour=True, translation=0.25, cutout=0.5).square()

    assert torch.autograd.gradcheck(squared, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(squared, images, fast_mode=True)
