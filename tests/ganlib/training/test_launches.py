"""What an iteration asks of a GPU, told without one: how many operations, and on which device."""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganlib.config import InputsOptions, RunConfig, VaeOptions
from ganlib.degradations import degrade, noise_shape
from ganlib.networks import FrozenFeaturesCritic, build_generator
from ganlib.networks.convolution import Conv2d
from ganlib.networks.frozen_features import _scales
from ganlib.pretrained.efficientnet import efficientnet_lite0
from ganlib.training.distributed import ALONE
from ganlib.training.gan.penalties import Due, Penalties
from ganlib.training.gan.step import objective_of
from ganlib.training.inputs import Inputs, RealBatch
from ganlib.training.iteration import Iteration
from ganlib.training.moment import moment_of
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state
from ganlib.training.vae.objective import VaeObjective
from tests.scaled_presets import BATCH_SIZE, PRESETS, NoiseFeed, image_of, scaled
from tests.toy_training import WholeFeed

# Operations an iteration, views not counted: each is a kernel or more. Widths do not change them, depths do.
MOST_OPERATIONS = {
    "cifar10-biggan": 3400,
    "cifar10-dcgan": 350,
    "cifar10-r3gan": 2450,
    "cifar10-sngan": 1920,
    "cifar10-vae": 190,
    "digits": 300,
    "digits-superresolve": 600,
    "digits-styles": 720,
    "digits-unpaired": 1100,
    "digits-vae": 160,
    "mnist-mlp": 140,
    "photos-128": 2060,
    "photos-256": 2060,
    "photos-32-cpu": 800,
    "photos-64-cpu": 800,
    "photos-few": 910,
}
# Each makes the host wait for the device, or copies from the host's pages.
WAITING = ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "unique")


class Operations(TorchDispatchMode):
    """Counts what is launched, by name, and notes what has tensors on two devices."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.between_devices: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.names[name] += not func.is_view
        tensors = [each for each in tree_leaves((args, kwargs, results)) if isinstance(each, torch.Tensor)]
        if len({each.device.type for each in tensors if each.dim() > 0}) > 1:
            self.between_devices.add(name)
        return results


@pytest.mark.parametrize("name", PRESETS)
def test_an_iteration_launches_few_operations_and_waits_for_none(name: str) -> None:
    config = scaled(name)
    state = initial_state(config, image_of(config), torch.device("cpu"))
    recipe, feed = Recipe.of(config, image_of(config)), Ready(config)
    iteration = Iteration(state, recipe, feed, ALONE)
    iteration.run()  # Adam makes its state
    moment = moment_of(state, recipe, feed)
    with Operations() as operations:
        iteration.launch(moment)
    found = sum(operations.names.values())
    assert 0.9 * MOST_OPERATIONS[name] < found <= MOST_OPERATIONS[name], operations.names.most_common(12)
    assert not [each for each in operations.names if each.startswith(WAITING)]


@pytest.mark.parametrize("kind", ["superresolve", "denoise", "deblur", "colourise", "inpaint"])
def test_degradations_wait_for_nothing(kind: str) -> None:
    more = {
        "superresolve": {"factor": 2},
        "denoise": {"std": 0.2},
        "deblur": {"sigma_px": 1.5},
        "inpaint": {"side": 0.25},
    }
    options: InputsOptions = TypeAdapter(InputsOptions).validate_python({"kind": kind, **more.get(kind, {})})
    images, noise = torch.rand(2, 3, 16, 16), torch.randn(2, *noise_shape(options, 3, 16))
    degrade(images, options, noise)
    with Operations() as operations:
        degrade(images, options, noise)
    assert operations.names
    assert not [each for each in operations.names if each.startswith(WAITING)]


class Ready(WholeFeed):
    """Batches that lie on the device already."""

    def __init__(self, config: RunConfig) -> None:
        feed, options = NoiseFeed(config), config.train
        moments = range(0, 2 * options.images_per_iteration, options.batch_size)
        self.batches = {seen_images: feed.batch(seen_images) for seen_images in moments}

    def batch(self, seen_images: int) -> RealBatch:
        return self.batches[seen_images]


def _passes(state: TrainState, recipe: Recipe, inputs: Inputs) -> tuple[torch.Tensor, ...]:
    """Generated images and all that the objective makes of them."""
    if isinstance(recipe.loss, VaeOptions):
        return state.generator(inputs.latents, inputs.real.condition), *VaeObjective(state, recipe).terms(inputs)
    objective = objective_of(state, recipe)
    fake = objective.generate(inputs)
    terms = objective.critic(inputs, fake.detach(), Penalties(0.0, 0.0, 0.0, Due(False, False, False)))
    return fake, *terms, *objective.generator(inputs, fake)


def _bring_nothing(critic: FrozenFeaturesCritic, _weights: Path) -> None:
    """Layers on the device of the rest, but no weights."""
    critic.frozen = _scales(efficientnet_lite0(Conv2d))


@pytest.mark.filterwarnings("ignore:CUDA is not available")  # for autocast
@pytest.mark.parametrize("name", PRESETS)
def test_all_of_a_forward_pass_lies_on_the_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By shapes alone: a constant left on the CPU would fail, or be copied at every step."""
    config, image, device = scaled(name), image_of(scaled(name)), torch.device("cuda")
    # None of these can do with shapes alone.
    monkeypatch.setattr(nn.Module, "to", lambda self, *_args, **_kwargs: self)
    monkeypatch.setattr(FrozenFeaturesCritic, "bring", _bring_nothing)
    monkeypatch.setattr(copy, "deepcopy", lambda _generator: build_generator(config.network, image))
    with FakeTensorMode(), device, torch.no_grad():
        state, recipe = initial_state(config, image, device), Recipe.of(config, image)
        shape = (BATCH_SIZE, image.channels, image.size, image.size)
        draws = None if recipe.augment is None else torch.rand(BATCH_SIZE, recipe.augment.draw_dim)
        labels = torch.zeros(BATCH_SIZE, dtype=torch.int64) if image.classes else None
        latents = torch.randn(BATCH_SIZE, state.generator.latent_dim)
        inputs = Inputs(
            RealBatch(torch.randn(shape), labels if config.data.inputs is None else torch.randn(shape)),
            latents,
            draws,
            draws,
            None,
            latents,
            torch.zeros(BATCH_SIZE, dtype=torch.int64),
        )
        for _ in range(2):  # augmentations place their constants at their first call
            with Operations() as operations:
                fake, *terms = _passes(state, recipe, inputs)
    assert fake.shape == shape
    assert fake.dtype == torch.float32
    assert all(each.device == fake.device for each in terms)
    assert fake.is_cuda
    assert not operations.between_devices
