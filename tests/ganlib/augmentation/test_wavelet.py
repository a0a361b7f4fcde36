import pytest
import torch

from ganlib.augmentation.wavelet import DOWN, REACH, UP, reflected, resampling

CPU = torch.device("cpu")


def matrices(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    return resampling(side, torch.float64, CPU)


@pytest.mark.parametrize("half", [UP, DOWN])
def test_filters_have_four_vanishing_moments(half):
    taps = torch.tensor([*half[:0:-1], *half], dtype=torch.float64)
    places = torch.arange(len(taps), dtype=torch.float64) - len(half) + 1
    for power in range(4):
        assert (taps * (-1.0) ** places * places**power).sum().item() == pytest.approx(0, abs=1e-9)
    assert abs((taps * (-1.0) ** places * places**4).sum().item()) > 1


@pytest.mark.parametrize("shift", [0, 1, -3, 40])
@pytest.mark.parametrize("side", [2, 4, 7, 28, 32])
def test_down_undoes_up_after_any_shift_by_whole_pixels(side, shift):
    up, down = matrices(side)
    read = [reflected(sample - REACH - 2 * shift, 2 * side - 1) for sample in range(down.shape[1])]
    expected = torch.eye(side, dtype=torch.float64)[[reflected(row - shift, side) for row in range(side)]]
    torch.testing.assert_close(down @ up[read], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [2, 4, 7, 32])
def test_constants_keep_their_value(side):
    for matrix in matrices(side):
        sums = matrix.sum(dim=1)
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)


def test_ramps_stay_ramps_in_their_places():
    up, down = matrices(32)
    ramp = torch.arange(32, dtype=torch.float64)
    places = torch.arange(-REACH, 63 + REACH, dtype=torch.float64) / 2
    torch.testing.assert_close((up @ ramp)[6:-6], places[REACH + 6 : -REACH - 6], rtol=0, atol=1e-12)
    torch.testing.assert_close(down @ places, ramp, rtol=0, atol=1e-12)
