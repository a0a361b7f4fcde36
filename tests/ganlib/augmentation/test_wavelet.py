import math

import pytest
import torch

from ganlib.augmentation.wavelet import CENTRE, MARGIN, SYM6, resampling

TAPS = torch.tensor(SYM6, dtype=torch.float64)
CPU = torch.device("cpu")


def matrices(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    return resampling(side, torch.float64, CPU)


def test_filter_is_orthonormal_to_its_even_shifts():
    for shift in range(0, 12, 2):
        product = (TAPS[shift:] * TAPS[: 12 - shift]).sum().item()
        assert product == pytest.approx(1 if shift == 0 else 0, abs=1e-9)
    assert TAPS.sum().item() == pytest.approx(math.sqrt(2), abs=1e-9)


def test_filter_has_six_vanishing_moments():
    places = torch.arange(12, dtype=torch.float64) - CENTRE
    alternating = TAPS * (-1.0) ** torch.arange(12)
    for power in range(6):
        assert (alternating * places**power).sum().item() == pytest.approx(0, abs=1e-6)
    assert abs((alternating * places**6).sum().item()) > 1


@pytest.mark.parametrize("side", [2, 4, 7, 28, 32])
def test_down_undoes_up_even_at_the_borders(side):
    up, down = matrices(side)
    torch.testing.assert_close(down @ up[MARGIN:-MARGIN], torch.eye(side, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("side", [4, 7, 32])
def test_constants_keep_their_value(side):
    up, down = matrices(side)
    for matrix in (up, down):
        sums = matrix.sum(dim=1)
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-9)


def test_ramps_stay_ramps_at_the_places_said():
    up, down = matrices(32)
    ramp = torch.arange(32, dtype=torch.float64)
    fine = torch.arange(len(up), dtype=torch.float64)
    places = (fine - MARGIN - CENTRE) / 2
    inner = (places > 4) & (places < 27)
    torch.testing.assert_close((up @ ramp)[inner], places[inner], rtol=0, atol=1e-8)
    torch.testing.assert_close(down @ places[MARGIN:-MARGIN], ramp, rtol=0, atol=1e-8)
