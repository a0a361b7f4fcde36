from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ganlib.errors import UserError
from ganlib.training.distributed import ALONE, RANK_VARIABLES, Ranks, join, synchronise_batch_norm
from ganlib.training.launch import launch
from tests.ganlib.training.rank_programs import BATCH, MISTAKE, compiled_and_eager, gan_gradients, norm_figures, numbers

PARTS = [Ranks(rank, 2, rank).share(BATCH) for rank in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Tensor]]:
    """What each of two real processes found."""
    with pytest.raises(UserError, match=f"^{MISTAKE}$"):
        launch(numbers, folder, processes=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@given(size=st.integers(1, 9), each=st.integers(1, 50))
def test_shares_are_equal_parts_in_the_order_of_ranks(size: int, each: int) -> None:
    batch = list(range(size * each))
    shares = [batch[Ranks(rank, size, 0).share(len(batch))] for rank in range(size)]
    assert all(len(share) == each for share in shares)
    assert [image for share in shares for image in share] == batch


def test_alone_nothing_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with join(torch.device("cpu"), timeout_s=1) as ranks:
        assert ranks == ALONE
        assert ranks.is_first
        figure = torch.ones(2)
        assert ranks.total(figure) is figure
        assert ranks.any(True)
        assert not ranks.any(False)
        ranks.wait("nobody")
    network = nn.Sequential(nn.BatchNorm1d(2))
    synchronise_batch_norm(network, ranks)
    assert type(network[0]) is nn.BatchNorm1d


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match=r"^WORLD_SIZE: not set"), join(torch.device("cpu"), timeout_s=1):
        pass


def test_what_ranks_tell_each_other_is_the_same_on_all(found: list[dict[str, Tensor]]) -> None:
    for each in found:
        assert each["total"].tolist() == [2.0, 10.0]
        assert each["any"].tolist() == [True, False]
        assert each["first"].item() == 0.1
        assert each["agree"].tolist() == [True, False]


def test_ranks_whose_weights_differ_write_no_checkpoint(found: list[dict[str, Tensor]], folder: Path) -> None:
    expected = "train.devices: the processes have different weights at 0 images shown"
    assert all((folder / f"drifted-{rank}").read_text().startswith(expected) for rank in range(len(found)))
    assert not list((folder / "drifted").glob("*/[0-9]*"))


def test_batch_norm_over_ranks_is_batch_norm_over_the_whole_batch(found: list[dict[str, Tensor]]) -> None:
    whole = norm_figures(ALONE)  # PyTorch's own
    for part, each in zip(PARTS, found, strict=True):
        for name, value in whole.items():
            expected = value[part] if name.endswith(("outputs", "slope", "half")) else value
            tolerance = {"rtol": 1e-2, "atol": 1e-2} if name.endswith("half") else {"rtol": 1e-7, "atol": 1e-9}
            torch.testing.assert_close(
                each[f"norm {name}"], expected, **tolerance, msg=lambda text, name=name: name + text
            )


def test_averaged_gradients_are_those_of_the_whole_batch(found: list[dict[str, Tensor]]) -> None:
    whole = gan_gradients(ALONE)
    largest = max(value.abs().max() for value in whole.values())
    for name, value in whole.items():
        first, second = (each[f"gan {name}"] for each in found)
        assert torch.equal(first, second)
        torch.testing.assert_close(first, value, rtol=1e-9, atol=float(largest) * 1e-13)


def test_graphed_iterations_of_two_ranks_are_the_eager_ones(found: list[dict[str, Tensor]]) -> None:
    """Their exchanges are part of the graph."""
    for each in found:
        assert torch.equal(each["graphed"], each["eager"])
        assert torch.isfinite(each["graphed"]).all()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_networks_of_two_ranks_are_the_eager_ones_to_rounding(tmp_path: Path) -> None:
    launch(compiled_and_eager, tmp_path, processes=2)
    eager, compiled = torch.load(tmp_path / "0.pt")
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)
