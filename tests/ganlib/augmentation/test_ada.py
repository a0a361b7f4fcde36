import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from ganlib.augmentation import Augment, build_augment
from ganlib.config import AdaOptions, ImageSpec, NoAugmentationOptions, ScheduledControl
from ganlib.losses import zero_centered_penalty

GROUPS = ("blit", "geometry", "colour", "noise", "cutout")
ONE, ZERO = torch.tensor(1.0), torch.tensor(0.0)


def ada(size: int, channels: int = 3, **figures: float) -> Augment:
    options = AdaOptions(
        policy="ada",
        control=ScheduledControl(kind="scheduled", probability=0.5),
        **(dict.fromkeys(GROUPS, 0) | figures),
    )
    built = build_augment(options, ImageSpec(size=size, channels=channels, classes=()))
    assert built is not None
    return built


def everything(size: int, channels: int = 3) -> Augment:
    return ada(size, channels, **dict.fromkeys(GROUPS, 1))


def pictures(count: int, size: int, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(size)
    return torch.rand(count, channels, size, size, dtype=dtype) * 2 - 1


def test_no_policy_is_no_augmentation():
    assert build_augment(NoAugmentationOptions(policy="none"), ImageSpec(size=8, channels=3, classes=())) is None


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [4, 7, 28])
def test_probability_zero_gives_the_very_bits(size, channels):
    images, pipe = pictures(5, size, channels), everything(size, channels)
    assert torch.equal(pipe(images, torch.rand(5, pipe.draw_dim), ZERO), images)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_do_not_depend_on_each_other(channels):
    images, pipe = pictures(6, 16, channels), everything(16, channels)
    draws, order = torch.rand(6, pipe.draw_dim), torch.tensor([3, 5, 0, 2, 1, 4])
    together = pipe(images, draws, torch.tensor(0.7))
    torch.testing.assert_close(pipe(images[order], draws[order], torch.tensor(0.7)), together[order])
    torch.testing.assert_close(pipe(images[:2], draws[:2], torch.tensor(0.7)), together[:2])
    assert (together != images).flatten(1).any(dim=1).all()


def test_groups_that_are_off_ask_for_no_draws():
    dims = [ada(8, **{group: 1}).draw_dim for group in GROUPS]
    assert dims == [7, 11, 10, 2 + 3 * 8 * 8, 3]
    assert everything(8).draw_dim == sum(dims)
    assert ada(8, channels=1, colour=1).draw_dim == 6
    with pytest.raises(ValidationError, match="every group at 0; set policy to none"):
        ada(8)


def test_figures_scale_the_probability():
    images, pipe = pictures(4000, 4, 1), ada(4, 1, cutout=0.5)
    found = pipe(images, torch.rand(4000, pipe.draw_dim), torch.tensor(0.6))
    touched = (found != images).flatten(1).any(dim=1).float().mean()
    assert abs(touched - 0.3) < 4 * (0.25 / 4000) ** 0.5


@pytest.mark.parametrize("group", GROUPS)
def test_alpha_is_moved_with_the_picture(group):
    images = pictures(8, 8)
    images = torch.cat([images, images[:, :1]], dim=1)  # alpha looks like red
    pipe = ada(8, 4, **{group: 1})
    found = pipe(images, torch.rand(8, pipe.draw_dim), ONE)
    if group in ("blit", "geometry", "cutout"):
        torch.testing.assert_close(found[:, 3], found[:, 0])
    elif group == "colour":
        assert torch.equal(found[:, 3], images[:, 3])
        assert not torch.equal(found[:, 0], images[:, 0])


def test_constants_stay_constant_but_for_colour():
    pipe = ada(12, blit=1, geometry=1)
    images = torch.tensor([-0.9, 0.1, 0.7])[None, :, None, None].expand(40, 3, 12, 12)
    torch.testing.assert_close(pipe(images, torch.rand(40, pipe.draw_dim), ONE), images)


def test_cutout_covers_a_square_of_half_the_side():
    pipe, draws = ada(8, cutout=1), torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 0.51]])
    found = pipe(torch.ones(2, 3, 8, 8), draws, ONE)
    expected = torch.ones(2, 3, 8, 8)
    expected[0, :, 2:6, 2:6] = 0
    expected[1, :, :2, 2:6] = 0
    assert torch.equal(found, expected)


def test_noise_has_a_half_normal_deviation():
    torch.manual_seed(0)
    pipe = ada(16, noise=1)
    noise = pipe(torch.zeros(3000, 3, 16, 16), torch.rand(3000, pipe.draw_dim), ONE)
    deviations = noise.flatten(1).std(dim=1)
    # Of a half-normal variable with scale 0.1: mean 0.1 sqrt(2 / pi), root mean square 0.1.
    assert deviations.mean().item() == pytest.approx(0.0798, abs=0.004)
    assert deviations.square().mean().sqrt().item() == pytest.approx(0.1, abs=0.005)
    assert abs(noise.mean().item()) < 1e-3


def test_shift_with_geometry_on_is_the_shift_alone():
    draws = torch.tensor([[0.9, 0.9, 0.9, 0.9, 0.0, 0.99, 0.2]])  # only the shift is chosen
    images = pictures(1, 16)
    alone = ada(16, blit=1)(images, draws, torch.tensor(0.5))
    both = ada(16, blit=1, geometry=1)(images, torch.cat([draws, torch.full((1, 11), 0.9)], dim=1), torch.tensor(0.5))
    assert not torch.equal(alone, images)
    torch.testing.assert_close(both, alone, rtol=0, atol=2e-5)


def test_half_precision_is_augmented_in_float32():
    images, pipe = pictures(2, 8).to(torch.bfloat16), everything(8)
    draws = torch.rand(2, pipe.draw_dim)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pipe(images, draws, ONE)
    assert found.dtype == torch.float32
    assert torch.equal(found, pipe(images.float(), draws, ONE))


def test_draws_of_another_shape_are_a_programming_error():
    pipe = everything(8)
    with pytest.raises(AssertionError, match="draws"):
        pipe(pictures(2, 8), torch.rand(2, pipe.draw_dim + 1), ONE)


@pytest.mark.parametrize(("group", "channels"), [(group, 3) for group in GROUPS] + [("colour", 1), ("colour", 4)])
def test_derivatives_in_float64(group, channels):
    pipe = ada(4, channels, **{group: 1})
    images = pictures(2, 4, channels, torch.float64).requires_grad_()
    draws = torch.rand(2, pipe.draw_dim, dtype=torch.float64)

    def squared(pixels: Tensor) -> Tensor:
        return pipe(pixels, draws, ONE).square()

    assert torch.autograd.gradcheck(squared, images)
    assert torch.autograd.gradgradcheck(squared, images, fast_mode=True)


def test_penalty_on_the_untouched_images_through_the_pipe():
    pipe = everything(8, 1)
    images = pictures(2, 8, 1, torch.float64)
    draws = torch.rand(2, pipe.draw_dim, dtype=torch.float64)
    kernel = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)

    def logits(pixels: Tensor, weights: Tensor) -> Tensor:
        return F.conv2d(pipe(pixels, draws, ONE), weights).tanh().sum(dim=(1, 2, 3))

    def penalty(weights: Tensor) -> Tensor:
        pixels = images.clone().requires_grad_()
        return zero_centered_penalty(logits(pixels, weights), pixels)

    step = 1e-5
    slopes = torch.zeros_like(images)
    for place in range(64):
        bump = torch.zeros(1, 1, 64, dtype=torch.float64)
        bump[..., place] = step
        bump = bump.view(1, 1, 8, 8)
        difference = logits(images + bump, kernel.detach()) - logits(images - bump, kernel.detach())
        slopes.flatten(1)[:, place] = difference / (2 * step)
    torch.testing.assert_close(penalty(kernel).detach(), slopes.square().sum(dim=(1, 2, 3)), rtol=1e-6, atol=0)
    assert torch.autograd.gradcheck(penalty, kernel)


def test_traced_whole():
    pipe = everything(8, 4)
    images, draws, probability = pictures(3, 8, 4), torch.rand(3, pipe.draw_dim), torch.tensor(0.6)
    traced = torch.compile(everything(8, 4), backend="eager", fullgraph=True)
    assert torch.equal(traced(images, draws, probability), pipe(images, draws, probability))


@pytest.mark.gpu
def test_captured_in_a_graph_and_deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    pipe, device = everything(32), torch.device("cuda")
    images, draws = pictures(16, 32).to(device).requires_grad_(), torch.rand(16, pipe.draw_dim, device=device)
    probability = torch.zeros((), device=device)

    def pulled() -> tuple[Tensor, Tensor]:
        out = pipe(images, draws, probability)
        return out, torch.autograd.grad(out.square().sum(), images)[0]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        pulled()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = pulled()
    probability.fill_(0.7)
    graph.replay()
    torch.testing.assert_close(captured, pulled())
    torch.use_deterministic_algorithms(True)
    try:
        first, second = pulled(), pulled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first[1], second[1])
    torch.testing.assert_close(first, captured)
