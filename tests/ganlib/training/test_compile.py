"""Compiled networks train, resume and are stored like others; the slow cases call a real compiler."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch._dynamo.utils import counters

from ganlib.config import TrainOptions
from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator
from ganlib.training import requirements
from ganlib.training.distributed import ALONE
from ganlib.training.iteration import Iteration, take_mean_figures
from ganlib.training.recipe import Recipe
from ganlib.training.requirements import check_devices
from ganlib.training.state import TrainState
from tests.configs import PRESET, tiny_config
from tests.toy_training import IMAGE, Interrupted, ToyFeed, digest, go_on, start, store_of

# PyTorch's tracer looks at it, and silences the warning only where warnings are not errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")

ITERATIONS = 6
CASES: dict[str, dict[str, Any]] = {
    # Not hinge: at first the gradient of the last bias would be rounding alone, of which Adam takes the sign.
    "dcgan": {"loss.adversarial": "non_saturating"},
    # Two of three critic steps are compiled; one is differentiated twice, which no compiled pass can be.
    "r3gan": {"network": "r3gan", "loss.adversarial": "relativistic", "loss.r1": {"weight": 1.0, "every_steps": 3}},
}


def forget_compiled() -> None:
    """Be as a new process."""
    torch.compiler.reset()
    counters.clear()


def iterated(changes: dict[str, Any]) -> tuple[TrainState, torch.Tensor]:
    """The state after ITERATIONS, and the figures of each."""
    config = tiny_config(changes)
    state, recipe, feed = start(config), Recipe.of(config, IMAGE), ToyFeed(config)
    rows = []
    for _ in range(ITERATIONS):
        Iteration(state, recipe, feed, ALONE).run()
        rows.append(take_mean_figures(state, ALONE))
    return state, torch.stack(rows)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_compiled_training_is_the_eager_one_to_rounding(case: str) -> None:
    forget_compiled()
    eager, expected = iterated(CASES[case])
    assert not counters["stats"]["unique_graphs"]
    compiled, found = iterated({**CASES[case], "train.compile": True})
    assert counters["stats"]["unique_graphs"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for name in ("generator", "critic", "ema"):
        expected_values = getattr(eager, name).state_dict()
        for key, value in getattr(compiled, name).state_dict().items():
            torch.testing.assert_close(value, expected_values[key], rtol=1e-3, atol=1e-5, msg=f"{name}: {key}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    config = tiny_config({"train.compile": True})
    forget_compiled()
    whole = start(config)
    go_on(whole, config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        go_on(start(config), config, tmp_path / "parts", stop_after=56)
    forget_compiled()
    resumed = start(config)
    assert store_of(config, tmp_path / "parts").load_latest(resumed, notify=pytest.fail)
    assert 0 < resumed.seen_images < config.train.total_images
    go_on(resumed, config, tmp_path / "parts")
    assert digest(resumed) == digest(whole)


def test_the_average_is_not_compiled_and_names_stay(tmp_path: Path) -> None:
    """Of the compiled generator, PyTorch keeps the original `forward`: that is what the average and files know."""
    config, plain = tiny_config({"train.compile": True}), tiny_config({})
    compiled, eager = start(config), start(plain)
    for name in ("generator", "critic", "ema"):
        assert getattr(compiled, name).state_dict().keys() == getattr(eager, name).state_dict().keys()
    assert digest(compiled) == digest(eager)
    latents, labels = torch.randn(4, config.network.latent_dim), torch.arange(4) % 3
    forget_compiled()
    assert torch.equal(compiled.ema(latents, labels), eager.ema(latents, labels))
    ImageGenerator(compiled.ema, config.network, IMAGE, {"seen_images": 0}).save(
        tmp_path / "generator", critic=compiled.critic
    )
    loaded = ImageGenerator.load(tmp_path / "generator").generator
    # Files keep no memory format, and each format has kernels of its own, which round differently on some processors.
    torch.testing.assert_close(loaded(latents, labels), copy.deepcopy(eager.ema)(latents, labels), rtol=0, atol=1e-6)
    assert not counters["stats"]["unique_graphs"]


@pytest.mark.parametrize(
    ("cuda", "present", "variables", "line"),
    [
        (0, {"g++", "clang++"}, {}, None),
        (0, {"ccache"}, {"CXX": "ccache g++"}, None),
        (1, {"gcc"}, {}, None),
        (1, {"clang"}, {}, None),
        (0, {"gcc"}, {}, "needs a C++ compiler, found no "),
        (0, {"g++", "clang++"}, {"CXX": "icpx"}, "needs a C++ compiler, found no icpx; install one, name one in CXX"),
        (1, set(), {}, "needs a C compiler, found no gcc or clang; install one, name one in CC, or set it to false"),
    ],
)
def test_a_missing_compiler_is_one_line(
    cuda: int, present: set[str], variables: dict[str, str], line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine has is made up."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(requirements.shutil, "which", lambda name: name if name in present else None)
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    values = yaml.safe_load(PRESET.read_text(encoding="utf-8"))["train"]
    check_devices(TrainOptions.model_validate(values))
    options = TrainOptions.model_validate(values | {"compile": True})
    if line is None:
        check_devices(options)
        return
    with pytest.raises(UserError) as caught:
        check_devices(options)
    assert str(caught.value).startswith(f"train.compile=true: {line}")
    assert "\n" not in str(caught.value)
