"""Every family's encoder."""

import pytest
import torch

from ganlib.networks import build_encoder
from tests.ganlib.networks import families


@pytest.mark.parametrize("family", families.FAMILIES)
def test_an_encoder_reads_images_without_labels_with_all_of_its_weights(family):
    options, spec = families.of(family), families.image_spec(channels=3)
    torch.manual_seed(0)
    encoder = build_encoder(options, spec)
    images = torch.randn(families.BATCH, 3, 16, 16)

    mean, log_variance = encoder(images)
    assert mean.shape == log_variance.shape == (families.BATCH, options.latent_dim)
    (mean.square().sum() + log_variance.exp().sum()).backward()
    assert all(each.grad is not None for each in encoder.parameters())


@pytest.mark.parametrize("family", families.FAMILIES)
def test_an_encoder_under_bf16_is_near_the_exact_one(family):
    torch.manual_seed(0)
    encoder = build_encoder(families.of(family), families.image_spec()).eval()
    images = torch.randn(families.BATCH, 1, 16, 16)

    exact = encoder(images)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder(images)
    for one, other in zip(exact, found, strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, one, rtol=0.1, atol=0.1)
