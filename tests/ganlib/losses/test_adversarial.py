import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ganlib.losses import (
    critic_loss,
    critic_loss_floor,
    generator_loss,
    generator_needs_real_logits,
    undecided_logit,
)

SMOOTHED = (("minimax", 0.1), ("non_saturating", 0.25), ("least_squares", 0.1))
CASES = (
    ("minimax", 0.0),
    ("non_saturating", 0.0),
    ("least_squares", 0.0),
    ("wasserstein", 0.0),
    ("hinge", 0.0),
    ("relativistic", 0.0),
    *SMOOTHED,
)
NAMES = tuple(name for name, smoothing in CASES if smoothing == 0)
LOGITS = st.floats(-30, 30)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(target: float, x: float) -> float:
    return -target * math.log(sigmoid(x)) - (1 - target) * math.log(sigmoid(-x))


def reference(name: str, smoothing: float, real: float, fake: float) -> tuple[float, float]:
    """Critic and generator loss of one pair from the papers' formulas."""
    match name:
        case "minimax":
            return cross_entropy(1 - smoothing, real) + cross_entropy(0, fake), math.log(1 - sigmoid(fake))
        case "non_saturating":
            return cross_entropy(1 - smoothing, real) + cross_entropy(0, fake), cross_entropy(1, fake)
        case "least_squares":
            return 0.5 * (real - (1 - smoothing)) ** 2 + 0.5 * fake**2, 0.5 * (fake - 1) ** 2
        case "wasserstein":
            return -(real - fake), -fake
        case "hinge":
            return max(0.0, 1 - real) + max(0.0, 1 + fake), -fake
        case _:
            return -math.log(sigmoid(real - fake)), -math.log(sigmoid(fake - real))


@pytest.mark.parametrize(("name", "smoothing"), CASES)
@given(pairs=st.lists(st.tuples(LOGITS, LOGITS), min_size=1, max_size=5))
def test_losses_are_the_closed_forms_sample_by_sample(name, smoothing, pairs):
    real, fake = torch.tensor(pairs, dtype=torch.float64).unbind(dim=1)
    critic = critic_loss(name, real, fake, label_smoothing=smoothing)
    found = torch.stack([critic, generator_loss(name, real, fake)], dim=1)
    expected = torch.tensor([reference(name, smoothing, *pair) for pair in pairs], dtype=torch.float64)
    # log(1 - sigmoid(30)) of the reference itself keeps only a few digits
    torch.testing.assert_close(found, expected, rtol=1e-3 if name == "minimax" else 1e-7, atol=1e-9)


@pytest.mark.parametrize(("name", "smoothing"), CASES)
def test_gradients_in_float64(name, smoothing):
    torch.manual_seed(0)
    real, fake = (torch.randn(6, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def critic(r: Tensor, f: Tensor) -> Tensor:
        return critic_loss(name, r, f, label_smoothing=smoothing)

    for loss in (critic, lambda r, f: generator_loss(name, r, f)):
        assert torch.autograd.gradcheck(loss, (real, fake))
        assert torch.autograd.gradgradcheck(lambda r, f, loss=loss: loss(r, f).square(), (real, fake))


@pytest.mark.parametrize("name", NAMES)
def test_real_logits_are_needed_where_said(name):
    real, fake = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(generator_loss(name, real, fake).sum(), real, allow_unused=True)
    assert (gradient is not None) == generator_needs_real_logits(name)
    if generator_needs_real_logits(name):
        with pytest.raises(AssertionError, match="real images"):
            generator_loss(name, None, fake)
    else:
        assert torch.equal(generator_loss(name, None, fake), generator_loss(name, real, fake))


@pytest.mark.parametrize(("name", "smoothing"), CASES)
def test_huge_logits_stay_finite(name, smoothing):
    # 1e15: the squares of least squares still fit in float32
    real, fake = torch.tensor([1e15, -1e15]), torch.tensor([-1e15, 1e15])
    assert critic_loss(name, real, fake, label_smoothing=smoothing).isfinite().all()
    assert generator_loss(name, real, fake).isfinite().all()


@pytest.mark.parametrize(("name", "smoothing"), CASES)
def test_floor_is_the_greatest_lower_bound(name, smoothing):
    floor = critic_loss_floor(name, label_smoothing=smoothing)
    axis = torch.linspace(-40, 40, 801, dtype=torch.float64)
    values = critic_loss(name, axis[:, None], axis[None, :], label_smoothing=smoothing)
    if floor is None:
        assert values.min() == -80  # as low as the logits go
    else:
        assert floor - 1e-12 <= values.min() <= floor + 1e-3
        assert values.max() > floor + 1


@pytest.mark.parametrize("name", ["wasserstein", "hinge", "relativistic"])
def test_losses_without_targets_cannot_be_smoothed(name):
    with pytest.raises(AssertionError, match="no target labels"):
        critic_loss(name, torch.zeros(1), torch.zeros(1), label_smoothing=0.1)


@pytest.mark.parametrize(("name", "smoothing"), SMOOTHED)
def test_smoothing_moves_the_best_answer_on_real_images_only(name, smoothing):
    real, fake = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    best = 1 - smoothing if name == "least_squares" else math.log((1 - smoothing) / smoothing)
    loss = critic_loss(name, real + best, fake, label_smoothing=smoothing)
    slope, fake_slope = torch.autograd.grad(loss.sum(), (real, fake))
    plain = critic_loss(name, real + best, fake, label_smoothing=0)
    assert abs(slope.item()) < 1e-12
    assert torch.equal(fake_slope, torch.autograd.grad(plain.sum(), fake)[0])


@pytest.mark.parametrize(("name", "smoothing"), CASES)
def test_undecided_is_the_best_logit_where_real_and_generated_images_are_alike(name, smoothing):
    logits = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    losses = critic_loss(name, logits, logits, label_smoothing=smoothing)
    best = logits[losses <= losses.min() + 1e-12]
    undecided = undecided_logit(name, label_smoothing=smoothing)
    if undecided is None:
        assert len(best) == len(logits)  # every logit is as good
    else:
        assert undecided == pytest.approx(float(best.mean()), abs=1e-3)
