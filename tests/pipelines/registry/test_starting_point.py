"""Where a training starts from: a folder, or a registered model with its critic."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ganlib.config import ImageSpec, InitialisationOptions
from ganlib.errors import UserError
from ganlib.networks import build_critic, build_generator
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic
from pipelines.registry.starting_point import starting_point
from pipelines.registry.versions import download_generator
from pipelines.tracking.store import LOCAL_DATABASE
from tests.configs import tiny_config
from tests.mlflow_server import free_port
from tests.registered import submit

pytestmark = pytest.mark.integration
IMAGE = ImageSpec(size=16, channels=1, classes=("zero", "one"))


def save_generator(folder: Path) -> Path:
    network = tiny_config({}).network
    torch.manual_seed(0)
    generator = ImageGenerator(build_generator(network, IMAGE), network, IMAGE, {"seen_images": 1})
    generator.save(folder, critic=build_critic(network, IMAGE))
    return folder


def start(source: str, sha256: str = "0" * 8) -> InitialisationOptions:
    return InitialisationOptions(source=source, sha256=sha256, freeze_critic_layers=0)


def test_a_registered_generator_comes_with_its_critic(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save_generator(project / "generator")
    submit(saved, 1.0)
    cache, address = project / ".ganlib/starting_point", generator_sha256(saved)
    for source, sha256 in (("models:/digits@champion", address), ("models:/digits/1", address[:9])):
        found = starting_point(start(source, sha256), cache)
        assert found.is_relative_to(cache)
        assert generator_sha256(found) == address
        expected = load_critic(saved).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in load_critic(found).state_dict().items())
    for source, words in (
        ("models:/digits@nobody", "nobody"),
        ("models:/digits/7", "7"),
        ("models:/nothing@champion", "nothing"),
    ):
        with pytest.raises(UserError, match=rf"^train\.init_from\.source={source}: .*{words}.* not found") as caught:
            starting_point(start(source), cache)
        assert "\n" not in str(caught.value)
    # What is kept needs no registry, and what is damaged is fetched again.
    (found / "generator.safetensors").write_bytes(b"damaged")
    assert generator_sha256(starting_point(start("models:/digits@champion", address[:9]), cache)) == address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert generator_sha256(starting_point(start("models:/digits@champion", address), cache)) == address
    with pytest.raises(UserError, match="no answer"):
        starting_point(start("models:/digits@champion"), cache)


def test_processes_that_start_together_share_one_download(project: Path) -> None:
    saved = save_generator(project / "generator")
    submit(saved, 1.0)
    options = start("models:/digits@champion", generator_sha256(saved))
    fetched: list[str] = []

    def fetch(source: str, folder: Path) -> Path:
        fetched.append(source)
        return download_generator(source, folder)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(3) as pool:
        patch.setattr("pipelines.registry.starting_point.download_generator", fetch)
        found = set(pool.map(lambda _: starting_point(options, project / "cache"), range(3)))
    assert [generator_sha256(folder) for folder in found] == [options.sha256]
    assert fetched == ["models:/digits@champion"]


def test_folders(project: Path) -> None:
    save_generator(project / "models/start")
    assert starting_point(start("models/start"), project / "unused") == Path("models/start")
    assert not (project / "unused").exists()
    (project / "empty").mkdir()
    for source, words in (
        ("absent", "no such folder; give a generator's folder or models:/NAME@ALIAS"),
        ("mlflow.db", "no such folder"),
        ("empty", "contains no generator.json"),
        ("models:/name", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/name/latest", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
    ):
        with pytest.raises(UserError) as caught:
            starting_point(start(source), project / "unused")
        assert str(caught.value).startswith(f"train.init_from.source={source}: {words}")
        assert "\n" not in str(caught.value)


def test_a_registry_that_is_not_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match=r"^train\.init_from\.source=.*no answer") as caught:
        starting_point(start("models:/digits@champion"), project / "cache")
    assert "\n" not in str(caught.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (project / LOCAL_DATABASE).unlink()
    with pytest.raises(UserError, match=r"mlflow\.db does not exist, so there is no registry; name another"):
        starting_point(start("models:/digits@champion"), project / "cache")
    assert not (project / LOCAL_DATABASE).exists()
