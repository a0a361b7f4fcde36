"""Generators as versions in the model registry: made, found again, and fetched."""

import importlib.metadata
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import ganlib
from ganlib.errors import UserError
from pipelines.tracking.delivery import GENERATOR_SHA256, attach, find_or_create_experiment
from pipelines.tracking.store import address_all_of_mlflow, connect, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

MODEL_CODE = Path(__file__).with_name("model_code.py")
REQUIREMENTS = ("mlflow", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "torch")

_INPUT_EXAMPLE = [{"count": 1, "seed": 0}]


def find_or_create_version(
    client: "MlflowClient", name: str, experiment: str, artifacts: Mapping[str, Path], identity: Mapping[str, str]
) -> "ModelVersion":
    """The version that already holds this generator, its tags and its card brought up to date, or a new one.

    Args:
        client: of the store.
        name: of the registered model, which is made if need be.
        experiment: where the run that made the generator is.
        artifacts: kept with the model; `generator` is its folder, `model_card` what is said of it.
        identity: tags of the version, among them the generator's SHA-256.
    """
    from mlflow.exceptions import MlflowException

    digest = identity[GENERATOR_SHA256]
    found = client.search_model_versions(f"name = '{name}' and tags.{GENERATOR_SHA256} = '{digest}'")
    if found:
        version = min(found, key=lambda each: int(each.version))
        changed = {key: value for key, value in identity.items() if version.tags.get(key) != value}
        if changed:
            _renew_card(client, version, artifacts["model_card"])
        for key, value in changed.items():
            client.set_model_version_tag(name, version.version, key, value)
        return client.get_model_version(name, version.version)
    run_id = attach(client, experiment, digest, {})
    experiment_id = find_or_create_experiment(client, experiment)
    model = _find_or_log_model(client, experiment_id, run_id, artifacts, digest)
    try:
        client.create_registered_model(name, description="Image generator; versions pass a gate to become champion.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        name, source=f"models:/{model.model_id}", run_id=run_id, tags=dict(identity), model_id=model.model_id
    )


def _renew_card(client: "MlflowClient", version: "ModelVersion", card: Path) -> None:
    """Before the tags are: whoever is stopped in between does it again."""
    from mlflow.exceptions import MlflowException

    try:
        client.log_model_artifact((version.source or "").removeprefix("models:/"), str(card), "artifacts")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # a person has deleted the model, and its card with it
            raise


def _find_or_log_model(
    client: "MlflowClient", experiment_id: str, run_id: str, artifacts: Mapping[str, Path], digest: str
) -> "LoggedModel":
    """A complete logged model of this generator; incomplete ones of an interrupted try are removed."""
    import mlflow
    from mlflow.models import Model

    known = client.search_logged_models([experiment_id], filter_string=f"tags.{GENERATOR_SHA256} = '{digest}'")
    for model in known:
        if model.status == "READY":
            return model
    for model in known:
        client.delete_logged_model(model.model_id)
    model = client.create_logged_model(
        experiment_id,
        name="generator",
        source_run_id=run_id,
        tags={GENERATOR_SHA256: digest},
        params=client.get_run(run_id).data.params,
    )
    address_all_of_mlflow()
    with _copies(artifacts) as copies, warnings.catch_warnings():
        # MLflow's own types provoke this when mlflow.pyfunc is imported.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=model.model_id,
            python_model=str(MODEL_CODE),
            artifacts={name: str(path) for name, path in copies.items()},
            code_paths=[str(Path(ganlib.__file__).parent)],
            pip_requirements=_requirements(),
            input_example=_INPUT_EXAMPLE,
        )
    return client.get_logged_model(model.model_id)


@contextmanager
def _copies(artifacts: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Files in the place of links, such as DVC makes into its cache: MLflow refuses those that leave their folder."""
    with TemporaryDirectory() as folder:
        copies = {name: Path(folder) / path.name for name, path in artifacts.items()}
        for name, path in artifacts.items():
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, copies[name])
        yield copies


def _requirements() -> list[str]:
    """The installed versions, without the local part that names a build such as +cpu."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]


def download_generator(model_uri: str, folder: Path) -> Path:
    """Fetch the generator of a registered model, such as `models:/digits@champion`, below `folder`; its folder.

    Raises:
        UserError: the store does not answer or has no such model.
    """
    with reachable():
        connect()
        return fetch_generator(model_uri, folder)


def fetch_generator(model_uri: str, folder: Path) -> Path:
    """The same from a store that is connected.

    Raises:
        mlflow.exceptions.MlflowException, OSError: no such model, or its files are gone.
        UserError: it is no model of a generator.
    """
    import mlflow
    from mlflow.models import Model

    address_all_of_mlflow()
    local = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=str(folder)))
    artifacts = Model.load(str(local)).flavors["python_function"].get("artifacts", {})
    if "generator" not in artifacts:
        raise UserError(f"{model_uri}: holds no generator; expected a model made by the register stage")
    return local / str(artifacts["generator"]["path"])
