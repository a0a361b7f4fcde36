import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from ganlib.augmentation.geometry import (
    DRAW_DIM,
    Geometry,
    bilinear,
    draw_geometry,
    resample,
    sample_places,
)
from ganlib.augmentation.wavelet import DOWN, UP, resampling

CPU = torch.device("cpu")
NEVER = 0.999


def plan(linear: Tensor, offset: Tensor) -> Geometry:
    return Geometry(torch.ones(len(linear), dtype=torch.bool), linear, offset)


def transform(images: Tensor, geometry: Geometry) -> Tensor:
    return resample(images, geometry, resampling(images.shape[2], images.dtype, CPU))


def random_geometry(count: int, side: int) -> Geometry:
    torch.manual_seed(1)
    draws = torch.rand(count, DRAW_DIM, dtype=torch.float64)
    return draw_geometry(draws, torch.tensor(1.0), torch.zeros(count, 2, dtype=torch.int64), side)


@pytest.mark.parametrize("side", [4, 5, 28, 64])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_identity_is_exact_to_rounding(side, dtype, error):
    images = torch.rand(2, 4, side, side, dtype=dtype) * 2 - 1
    same = plan(torch.eye(2, dtype=dtype).expand(2, 2, 2), torch.zeros(2, 2, dtype=dtype))
    torch.testing.assert_close(transform(images, same), images, rtol=0, atol=error)


def test_constants_stay_constant():
    images = torch.tensor([-1.0, 0.3, 1.0], dtype=torch.float64)[None, :, None, None].expand(50, 3, 8, 8)
    torch.testing.assert_close(transform(images, random_geometry(50, 8)), images, rtol=0, atol=1e-9)


def test_ramps_are_read_exactly_where_the_map_says():
    side, count = 48, 12
    geometry = random_geometry(count, side)
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    images = torch.stack([x, y]).expand(count, 2, side, side)
    expected = torch.einsum("nij,jrc->nirc", geometry.linear, torch.stack([x, y])) + geometry.offset[:, :, None, None]
    # The reflection bends the ramps: compare where the filters, seven pixels wide in a stretched image, see none.
    inner = (expected.abs() < side / 2 - 12).all(dim=1, keepdim=True).expand_as(expected)
    assert inner.float().mean() > 0.1
    torch.testing.assert_close(transform(images, geometry)[inner], expected[inner], rtol=0, atol=1e-8)


def padded(image: np.ndarray, pixels: int) -> np.ndarray:
    return np.pad(image, pixels, mode="reflect")


def step_by_step(image: np.ndarray, linear: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The published sampling with this wavelet's filters, on an image padded by many sides: [S, S] -> [S, S]."""
    side, margin = len(image), 20 * len(image)
    fine = padded(image, margin)
    for axis in (0, 1):
        stuffed = np.insert(fine, np.arange(1, fine.shape[axis] + 1), 0, axis=axis)
        fine = ndimage.convolve1d(stuffed, [*UP[:0:-1], *UP], axis=axis)
    places = np.arange(-10, 2 * side + 10) / 2 - (side - 1) / 2  # of the samples, in pixels from the centre
    x, y = np.meshgrid(places, places)
    found = np.einsum("ij,jrc->irc", linear, [x, y]) + offset[:, None, None] + (side - 1) / 2 + margin
    coarse = ndimage.map_coordinates(fine, 2 * found[::-1], order=1)
    for axis in (0, 1):
        coarse = ndimage.convolve1d(coarse, [*DOWN[:0:-1], *DOWN], axis=axis)
    return coarse[10:-10:2, 10:-10:2]


@pytest.mark.parametrize("side", [5, 16])
def test_sampling_is_padding_filtering_and_reading_between_also_far_outside(side):
    images = torch.randn(6, 1, side, side, dtype=torch.float64)
    geometry = random_geometry(6, side)
    geometry.offset[0] = torch.tensor([3.3 * side, -4.1 * side])
    found = transform(images, geometry)
    for k in range(6):
        expected = step_by_step(images[k, 0].numpy(), geometry.linear[k].numpy(), geometry.offset[k].numpy())
        np.testing.assert_allclose(found[k, 0], expected, rtol=0, atol=1e-9)


def photographs(count: int, side: int, linear: Tensor) -> tuple[Tensor, Tensor]:
    """Images with about the spectrum of small photographs, as sums of cosines; and the same as `linear` maps them.

    Cosines even about both borders are their own reflection, so that the second is true everywhere.
    """
    frequency = torch.arange(side, dtype=torch.float64) * math.pi / (side - 1)
    radius = frequency[:, None].hypot(frequency)
    amplitude = torch.randn(count, side, side, dtype=torch.float64) / (radius + 0.1) ** 1.5 * (radius <= math.pi)
    amplitude[:, 0, 0] = 0
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))

    def at(places: Tensor) -> Tensor:
        x, y = ((places + (side - 1) / 2)[..., None] * frequency).cos().unbind(dim=1)
        return torch.einsum("nkl,nrck,nrcl->nrc", amplitude, y, x)[:, None]

    return at(places.expand(count, *places.shape)), at(torch.einsum("nij,jrc->nirc", linear, places))


def test_turned_photographs_lose_little():
    torch.manual_seed(0)
    angles = torch.rand(20, dtype=torch.float64) * 2 * math.pi
    linear = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=1).view(-1, 2, 2)
    images, expected = photographs(20, 32, linear)
    found = transform(images, plan(linear, torch.zeros(20, 2, dtype=torch.float64)))
    loss = ((found - expected).square().mean() / images.square().mean()).sqrt()
    assert loss < 0.05  # 0.046; with sym6, as published, 0.056


@pytest.mark.parametrize("side", [5, 16])
def test_mirror_images_and_quarter_turns_are_exact(side):
    images = torch.randn(3, 2, side, side, dtype=torch.float64)
    linear = torch.tensor([[[-1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]]], dtype=torch.float64)
    found = transform(images, plan(linear, torch.zeros(3, 2, dtype=torch.float64)))
    # The output at (x, y) is the input at (-x, y), (-y, x), (-x, -y): the second is a turn by 90 degrees to the left.
    expected = torch.stack([images[0].flip(2), images[1].rot90(1, (1, 2)), images[2].flip(1, 2)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def homogeneous(draws: list[float], shift: tuple[int, int], side: int) -> np.ndarray:
    """The forward map of the published order of transformations, as 3x3 matrices in float64; p = 1."""
    gaussian = lambda u: torch.special.ndtri(torch.tensor(u, dtype=torch.float64)).item()  # noqa: E731
    scale = lambda x, y: np.diag([x, y, 1.0])  # noqa: E731

    def move(x: float, y: float) -> np.ndarray:
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    def turn(u: float) -> np.ndarray:
        a = (2 * u - 1) * math.pi
        return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])

    _, zoom, _, first, _, stretch, _, second, _, x, y = draws
    zoom, stretch = 2 ** (0.2 * gaussian(zoom)), 2 ** (0.2 * gaussian(stretch))
    last = move(side / 8 * gaussian(x), side / 8 * gaussian(y))
    return last @ turn(second) @ scale(stretch, 1 / stretch) @ turn(first) @ scale(zoom, zoom) @ move(*shift[::-1])


def test_map_is_the_inverse_of_the_published_product():
    draws = torch.rand(20, DRAW_DIM, dtype=torch.float64)
    shift = torch.randint(-4, 5, (20, 2))
    geometry = draw_geometry(draws, torch.tensor(1.0), shift, side=32)
    for k in range(20):
        inverse = np.linalg.inv(homogeneous(draws[k].tolist(), tuple(shift[k].tolist()), 32))
        np.testing.assert_allclose(geometry.linear[k], inverse[:2, :2], atol=1e-12)
        np.testing.assert_allclose(geometry.offset[k], inverse[:2, 2], atol=1e-10)


@pytest.mark.parametrize("shift", [(3, -2), (0, 1), (-40, 27)])
def test_whole_pixels_move_exactly_also_those_from_beyond_the_border(shift):
    side = 24
    images = torch.randn(1, 1, side, side, dtype=torch.float64)
    draws = torch.full((1, DRAW_DIM), NEVER, dtype=torch.float64)
    geometry = draw_geometry(draws, torch.tensor(0.5), torch.tensor([shift]), side)
    assert geometry.moved.all()
    down, right = 60 - shift[0], 60 - shift[1]
    expected = padded(images[0, 0].numpy(), 60)[down : down + side, right : right + side]
    np.testing.assert_allclose(transform(images, geometry)[0, 0], expected, rtol=0, atol=1e-9)


def test_probabilities_and_spreads():
    torch.manual_seed(0)
    count, probability = 20_000, 0.3
    still = torch.zeros(count, 2, dtype=torch.int64)
    geometry = draw_geometry(torch.rand(count, DRAW_DIM), torch.tensor(probability), still, side=64)
    tolerance = 4 * (0.25 / count) ** 0.5
    zoom = -geometry.linear.det().log2() / 2
    zoomed = zoom.abs() > 1e-5
    assert abs(zoomed.float().mean() - probability) < tolerance
    assert abs(zoom[zoomed].std() - 0.2) < 0.01
    singular = torch.linalg.svdvals(geometry.linear)
    stretched = (singular[:, 0] / singular[:, 1]).log2() > 1e-3
    assert abs(stretched.float().mean() - probability) < tolerance + 0.003
    # Without stretching, the two rotations are one: turned with the probability itself.
    straight = ~stretched
    turned = (geometry.linear[:, 0, 1].abs() > 1e-5)[straight]
    assert abs(turned.float().mean() - probability) < 1.5 * tolerance
    moved = (geometry.offset != 0).any(dim=1)
    assert abs(moved.float().mean() - probability) < tolerance
    # The offset undoes the translation before the inverse map: bring it back.
    steps = torch.linalg.solve(geometry.linear, geometry.offset)[moved] / 64
    assert abs(steps.std() - 0.125) < 0.005
    assert abs(geometry.moved.float().mean() - (1 - (1 - probability) ** 4)) < tolerance


def test_samples_are_inside_the_upsampled_image():
    for side in (4, 7, 32):
        places = sample_places(random_geometry(200, side), side)
        assert places.min() >= 0
        assert places.max() <= 2 * (side - 1)


def test_gathered_samples_are_grid_samples():
    images = torch.randn(3, 2, 9, 9, dtype=torch.float64, requires_grad=True)
    places = torch.rand(3, 5, 6, 2, dtype=torch.float64) * 8
    places[0, 0, 0], places[0, 0, 1] = 0.0, 8.0
    grid = (2 * places + 1) / 9 - 1
    gathered, sampled = (
        (sample, *torch.autograd.grad(sample.square().sum(), images))
        for sample in (bilinear(images, places), F.grid_sample(images, grid, align_corners=False))
    )
    torch.testing.assert_close(gathered, sampled)
