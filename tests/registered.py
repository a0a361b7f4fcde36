"""Generators registered as versions of a model, and what the registry then holds."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib.config import DcganOptions, ImageSpec, RegisterOptions
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator
from pipelines import mlflow_store
from pipelines.champion import read
from pipelines.registry import Registration, register

ADA = "Ada <ada@example.org>"
TAGS = {"git_commit": "c0ffee", "data_sha256": "d1", "params_sha256": "p1"}


def be_ada(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have git say who is at the keyboard."""
    file = folder / "gitconfig"
    file.write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))


def make_generator(folder: Path, seed: int, *, conditional: bool = True) -> Path:
    network = DcganOptions(
        family="dcgan", conditional=conditional, latent_dim=8, generator_width=4, generator_stem="normed",
        generator_spectral_norm=False, upsampling="transposed", critic_width=4, critic_norm="none",
        critic_convolutions=1, critic_pooling="none", critic_dropout=0.0,
        conditional_batch_norm=conditional, projection=conditional,
    )  # fmt: skip
    image = ImageSpec(size=16, channels=1, classes=("zero", "one", "two") if conditional else ())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = build_generator(network, image)
    ImageGenerator(generator, network, image, {"seen_images": seed}).save(folder)
    return folder


def uncalled(folder: Path) -> float:
    raise AssertionError("the champion was measured alike and need not be measured again")


def submit(
    folder: Path,
    score: float,
    *,
    name: str = "digits",
    measured_on: str = "ref1",
    rescore: Callable[[Path], float] = uncalled,
) -> Registration:
    return register(
        options=RegisterOptions(model_name=name, metric="domain/fid", margin=0.05),
        experiment=name,
        generator_folder=folder,
        evaluation={"measured_on": measured_on, "metrics": {"domain/fid": {"value": score, "std": 0.1}}},
        tags=TAGS,
        rescore=rescore,
    )


def told_history(name: str) -> list[tuple[object, ...]]:
    """The transitions of a model, oldest first, without dates, tokens and places."""
    kept = ("action", "origin", "target", "who", "why", "state")
    transitions = read(mlflow_store.connect(), name).transitions
    return [tuple(asdict(each)[key] for key in kept) for each in transitions]


def state(name: str) -> dict[str, Any]:
    """All that the registry holds about a model, without random ids and dates."""
    client = mlflow_store.connect()
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    models = client.search_logged_models([experiment.experiment_id]) if experiment else []
    registered = client.search_registered_models(f"name = '{name}'")
    versions = client.search_model_versions(f"name = '{name}'")
    return {
        "runs": sorted(run.data.tags.get("ganlib.restored", "original") for run in runs),
        "models": sorted(str(model.status) for model in models),
        "history": told_history(name) if registered else [],
        "aliases": {key: str(value) for key, value in registered[0].aliases.items()} if registered else {},
        "versions": {
            str(version.version): {
                "description": version.description,
                "tags": {key: value for key, value in version.tags.items() if key != "generator_sha256"},
            }
            for version in versions
        },
    }
