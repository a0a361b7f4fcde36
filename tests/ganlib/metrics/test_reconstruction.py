"""PSNR and SSIM against their definitions."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ganlib.errors import UserError
from ganlib.metrics.reconstruction import psnr, ssim
from tests.extractors import pictures


def noisy(images: np.ndarray, levels: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(scale=levels, size=images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def reference_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Of one channel, [H, W]: scipy's Gaussian, cut at 3.5 sigma, has 11 taps; its borders are left out."""

    def mean(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values.astype(float), 1.5, truncate=3.5)[5:-5, 5:-5]

    x, y = x.astype(float), y.astype(float)
    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 2.55**2, 7.65**2
    return float(((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [11, 16, 64])
def test_both_follow_their_definitions_for_each_image_by_itself(channels: int, size: int) -> None:
    one = pictures(70, size, channels)
    other = noisy(one, 12.0)
    expected = [
        np.mean([reference_ssim(a[..., c], b[..., c]) for c in range(channels)])
        for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(ssim(one, other), expected, rtol=0, atol=1e-10)
    errors = [np.mean((a.astype(int) - b.astype(int)) ** 2) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(psnr(one, other), -10 * np.log10(np.array(errors) / 255**2), rtol=1e-12)


def test_equal_images_are_alike_and_order_plays_no_part() -> None:
    one = pictures(5, 16, 3)
    other = noisy(one, 5.0)
    assert (psnr(one, one) == np.inf).all()
    np.testing.assert_allclose(ssim(one, one), 1, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(psnr(one, other), psnr(other, one))
    np.testing.assert_allclose(ssim(one, other), ssim(other, one), rtol=0, atol=1e-12)


def test_more_noise_is_less_alike_and_the_ratio_tells_how_much() -> None:
    one = np.full((3, 64, 64, 3), 128, np.uint8)
    np.testing.assert_allclose(psnr(one, noisy(one, 8.0)), 20 * np.log10(255 / 8), atol=0.2)
    np.testing.assert_array_equal(psnr(one, one + 1), np.full(3, 20 * np.log10(255)))
    picture = pictures(3, 64, 3)
    assert (ssim(picture, noisy(picture, 4.0)) > ssim(picture, noisy(picture, 16.0))).all()
    assert (ssim(picture, 255 - picture) < 0.5).all()


def test_images_smaller_than_the_window_are_refused_and_none_give_none() -> None:
    small = pictures(2, 10, 1)
    with pytest.raises(UserError, match="10 x 10 pixels, expected at least 11"):
        ssim(small, small)
    assert psnr(small[:0], small[:0]).shape == ssim(pictures(1, 16, 1)[:0], pictures(1, 16, 1)[:0]).shape == (0,)
