"""What only a card can show, and the same on a CPU where it can be had there."""

from pathlib import Path

import pytest
import torch

from ganlib.training.distributed import ALONE, join, local_rank
from ganlib.training.figures import CRITIC_FIGURES
from ganlib.training.graph import WARM_UP_ITERATIONS, iteration_of
from ganlib.training.iteration import take_mean_figures
from ganlib.training.launch import launch
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from tests.configs import tiny_config
from tests.ganlib.training.rank_programs import TIMEOUT_S
from tests.toy_training import IMAGE, ToyFeed

ITERATIONS = WARM_UP_ITERATIONS + 2
PENALISED = {
    "network": "r3gan",
    "loss.adversarial": "relativistic",
    "loss.r1.weight": 1.0,
    "loss.r2.weight": 1.0,
}
each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


def figures(changes: dict, device: str) -> torch.Tensor:
    """The mean figures of a few iterations."""
    config = tiny_config({**changes, "train.device": "auto" if device == "cpu" else device})
    state = initial_state(config, IMAGE, torch.device("cpu") if device == "cpu" else prepare_device(config.train))
    recipe, feed = Recipe.of(config, IMAGE), ToyFeed(config)
    iteration = iteration_of(state, recipe, feed, ALONE)
    for _ in range(ITERATIONS):
        iteration.run()
    return take_mean_figures(state, ALONE)


@each_device
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_penalised_training_in_half_precision_is_near_that_in_float32(precision, device):
    exact = figures(PENALISED, device)
    half = figures({**PENALISED, "train.precision": precision}, device)
    assert exact[CRITIC_FIGURES.index("loss/penalty")] > 0
    torch.testing.assert_close(half, exact, rtol=0.03, atol=3e-3)


@pytest.mark.gpu
def test_a_gpu_finds_the_figures_of_a_cpu():
    torch.testing.assert_close(figures(PENALISED, "cuda"), figures(PENALISED, "cpu"), rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("graphed", [False, True])
def test_compiled_on_a_gpu_is_eager_to_rounding(graphed):
    changes = {"loss.adversarial": "non_saturating"}
    compiled = figures({**changes, "train.compile": True, "train.cuda_graph": graphed}, "cuda")
    torch.testing.assert_close(compiled, figures(changes, "cuda"), rtol=1e-3, atol=1e-4)


def meet_on_gpus(folder: Path) -> None:
    """Figures that travel over NCCL and over gloo, and an orderly end."""
    rank = local_rank()
    config = tiny_config({"train.device": "cuda", "network.critic_norm": "batch"})
    device = prepare_device(config.train, rank)
    with join(device, timeout_s=TIMEOUT_S) as ranks:
        assert ranks.devices is not None
        found = ranks.total(torch.ones(3, device=device) * (ranks.rank + 1))
        assert found.is_cuda
        assert found.tolist() == [3.0] * 3
        assert ranks.from_first(float(ranks.rank)) == 0.0
        state = initial_state(config, IMAGE, device, ranks=ranks)
        assert ranks.agree(state.weights_digest())
        (folder / str(ranks.rank)).touch()


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_ranks_on_gpus_meet_over_nccl(tmp_path):
    launch(meet_on_gpus, tmp_path, processes=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
