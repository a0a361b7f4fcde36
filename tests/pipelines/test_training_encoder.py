"""What the train stage adds to a generator that has an encoder to follow it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib.config import RunConfig
from ganlib.events import Event, Notice, Scalars
from ganlib.networks import build_critic, build_generator
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic, load_encoder
from ganlib.training.distributed import ALONE
from ganlib.training.ingredients import Ingredients
from pipelines import paths
from pipelines.stages.train import _add_encoder, _Run
from pipelines.tracking.headline import trained
from tests.configs import tiny_config
from tests.toy_training import IMAGE, start, store_of

ENCODER = {"total_images": 64, "batch_size": 16, "learning_rate": 0.001, "pixel_weight": 1.0, "feature_weight": 0.1}


def run_of(config: RunConfig, folder: Path) -> _Run:
    unused: Any = None
    store, cpu = store_of(config, folder / "checkpoints"), torch.device("cpu")
    return _Run(config, unused, start(config), unused, store, ALONE, cpu, lambda: False)


def test_the_encoder_lies_beside_an_unchanged_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_config({"train.encoder": ENCODER})
    generator, critic = build_generator(config.network, IMAGE), build_critic(config.network, IMAGE)
    ImageGenerator(generator, config.network, IMAGE, {"seen_images": 1}).save(paths.GENERATOR, critic=critic)
    weights = {name: (paths.GENERATOR / name).read_bytes() for name in ("generator.safetensors", "critic.safetensors")}
    before = generator_sha256(paths.GENERATOR)
    _add_encoder(run_of(tiny_config({}), tmp_path), lambda _event: pytest.fail("there is no encoder to train"))
    assert generator_sha256(paths.GENERATOR) == before
    assert load_encoder(paths.GENERATOR) is None

    digests = []
    for _ in range(2):
        heard: list[Event] = []
        _add_encoder(run_of(config, tmp_path), heard.append)
        digests.append(generator_sha256(paths.GENERATOR))
    assert digests[0] == digests[1] != before
    assert {name: (paths.GENERATOR / name).read_bytes() for name in weights} == weights
    load_critic(paths.GENERATOR)
    encoder = load_encoder(paths.GENERATOR)
    assert encoder is not None
    assert encoder(torch.zeros(2, 1, 16, 16))[0].shape == (2, 8)
    said = [event.text for event in heard if isinstance(event, Notice)]
    assert said[-1].startswith("the encoder's losses at the end: latents ")
    (scalars,) = [event.values for event in heard if isinstance(event, Scalars)][:1]
    assert set(trained(scalars)) == {"training/encoder_latents", "training/encoder_pixels", "training/encoder_features"}
    assert all(np.isfinite(list(scalars.values())))


def test_a_training_goes_on_from_its_checkpoints_whatever_encoder_follows() -> None:
    addresses = {
        Ingredients.of(tiny_config({"train.encoder": each}), IMAGE, torch.device("cpu"), {}).address()
        for each in (None, ENCODER)
    }
    assert len(addresses) == 1


def test_a_variational_autoencoder_has_an_encoder_of_its_own() -> None:
    vae = {"objective": "vae", "beta": 1.0}
    changes = {"loss": vae, "train.alarms.critic_won": None, "evaluate.latent.kept_share": None}
    tiny_config(changes)
    with pytest.raises(ValueError, match=r"train.encoder: loss.objective=vae trains an encoder of its own"):
        tiny_config({**changes, "train.encoder": ENCODER})
