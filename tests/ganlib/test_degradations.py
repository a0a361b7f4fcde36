"""Degradations against other people's code and by definition."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.ndimage import gaussian_filter

from ganlib.config import InputsOptions
from ganlib.degradations import degrade, degraded_rows, noise_shape

ALL = [
    {"kind": "superresolve", "factor": 2},
    {"kind": "superresolve", "factor": 4},
    {"kind": "denoise", "std": 0.2},
    {"kind": "deblur", "sigma_px": 1.5},
    {"kind": "colourise"},
    {"kind": "inpaint", "side": 0.25},
]


def options(values: dict) -> InputsOptions:
    found: InputsOptions = TypeAdapter(InputsOptions).validate_python(values)
    return found


def some(count: int = 3, channels: int = 3, size: int = 16) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


# Grey images have no colours; the parameters refuse to take them away.
CASES = [
    (values, channels) for values in ALL for channels in (1, 3, 4) if (values["kind"], channels) != ("colourise", 1)
]


@pytest.mark.parametrize(("values", "channels"), CASES, ids=str)
def test_what_happens_to_an_image_depends_on_its_own_numbers_alone(values: dict, channels: int) -> None:
    chosen, images = options(values), some(channels=channels)
    noise = torch.randn(3, *noise_shape(chosen, channels, 16))
    together = degrade(images, chosen, noise)
    assert together.shape == images.shape
    assert not torch.equal(together, images)
    alone = degrade(images[1:2], chosen, noise[1:2])
    torch.testing.assert_close(alone, together[1:2])


def test_superresolution_starts_from_means_of_squares() -> None:
    images = some(channels=1)
    small = images.numpy().reshape(3, 1, 8, 2, 8, 2).mean(axis=(3, 5))
    blocks = np.kron(small, np.ones((2, 2)))
    found = degrade(images, options(ALL[0]), torch.empty(3, 0))
    # Both lose the same details, but interpolation is smoother.
    assert np.abs(found.numpy().reshape(3, 1, 8, 2, 8, 2).mean(axis=(3, 5)) - small).max() < 0.35
    assert found.diff(dim=3).abs().mean() < torch.from_numpy(blocks).diff(dim=3).abs().max()
    constant = torch.full((1, 1, 16, 16), 0.3)
    torch.testing.assert_close(degrade(constant, options(ALL[0]), torch.empty(1, 0)), constant)


def test_blur_is_that_of_scipy() -> None:
    images = some()
    found = degrade(images, options({"kind": "deblur", "sigma_px": 1.5}), torch.empty(3, 0))
    expected = gaussian_filter(images.numpy(), sigma=(0, 0, 1.5, 1.5), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_noise_has_its_standard_deviation_and_grey_is_the_luma() -> None:
    images, noise = some(200), torch.randn(200, 3, 16, 16)
    noisy = degrade(images, options({"kind": "denoise", "std": 0.2}), noise)
    assert float((noisy - images).std()) == pytest.approx(0.2, rel=0.02)
    grey = degrade(images, options({"kind": "colourise"}), torch.empty(200, 0))
    assert torch.equal(grey[:, 0], grey[:, 1])
    torch.testing.assert_close(grey[:, 2], 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2])


def test_holes_have_their_size_and_fall_everywhere() -> None:
    images = torch.ones(4000, 1, 8, 8)
    holed = degrade(images, options({"kind": "inpaint", "side": 0.5}), torch.randn(4000, 2))
    holes = holed == 0
    assert (holes.sum(dim=(1, 2, 3)) == 16).all()
    corners = holes.flatten(1).int().argmax(dim=1)
    counts = torch.bincount(corners, minlength=64)
    assert int((counts > 0).sum()) == 25  # 5 x 5 places
    assert float(counts[counts > 0].min()) > 0.6 * 4000 / 25


def test_rows_of_a_set_have_noise_of_their_own() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    chosen, rows = options({"kind": "denoise", "std": 0.5}), np.arange(6)
    whole = degraded_rows(pixels, rows, chosen, seed=1)
    assert torch.equal(degraded_rows(pixels[4:], rows[4:], chosen, seed=1), whole[4:])
    assert not torch.equal(degraded_rows(pixels, rows, chosen, seed=2), whole)
