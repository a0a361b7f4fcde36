import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.losses import critic_loss, generator_loss, generator_needs_real_logits

NAMES = ("hinge", "non_saturating", "relativistic")
LOGITS = st.floats(-30, 30)


def log1pexp(x: float) -> float:
    return math.log1p(math.exp(x))


def reference(name: str, real: float, fake: float) -> tuple[float, float]:
    """Critic and generator loss of one pair from the papers' formulas."""
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    match name:
        case "hinge":
            return max(0.0, 1 - real) + max(0.0, 1 + fake), -fake
        case "non_saturating":
            return -math.log(sigmoid(real)) + log1pexp(fake), -math.log(sigmoid(fake))
        case _:
            return -math.log(sigmoid(real - fake)), -math.log(sigmoid(fake - real))


@pytest.mark.parametrize("name", NAMES)
@given(pairs=st.lists(st.tuples(LOGITS, LOGITS), min_size=1, max_size=5))
def test_losses_are_the_closed_forms_sample_by_sample(name, pairs):
    real, fake = torch.tensor(pairs, dtype=torch.float64).unbind(dim=1)
    found = torch.stack([critic_loss(name, real, fake), generator_loss(name, real, fake)], dim=1)
    expected = torch.tensor([reference(name, *pair) for pair in pairs], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_in_float64(name):
    torch.manual_seed(0)
    real, fake = (torch.randn(6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for loss in (critic_loss, generator_loss):
        assert torch.autograd.gradcheck(lambda r, f, loss=loss: loss(name, r, f), (real, fake))
        assert torch.autograd.gradgradcheck(lambda r, f, loss=loss: loss(name, r, f).square(), (real, fake))


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


@pytest.mark.parametrize("name", NAMES)
def test_huge_logits_stay_finite(name):
    real, fake = torch.tensor([1e30, -1e30]), torch.tensor([-1e30, 1e30])
    assert critic_loss(name, real, fake).isfinite().all()
    assert generator_loss(name, real, fake).isfinite().all()
