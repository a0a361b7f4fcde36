"""Generators as versions in the model registry: made, found again, and fetched."""

import base64
import hashlib
import importlib.metadata
import io
import re
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from PIL import Image

import ganlib
from ganlib.config import MODES
from ganlib.errors import UserError
from ganlib.packaging import DESCRIPTION, WEIGHTS, Description, generator_sha256, read_description
from pipelines.registry.champion import Say, registry_lock
from pipelines.tracking.delivery import GENERATOR_SHA256, attach, describe_run, find_or_create_experiment
from pipelines.tracking.descriptions import is_ours, sealed
from pipelines.tracking.store import address_all_of_mlflow, connect_to_read, reachable, reason

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.pyfunc import PyFuncModel

MODEL_CODE = Path(__file__).with_name("model_code.py")
PACKAGE = Path(ganlib.__file__).parent
REQUIREMENTS = ("mlflow", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "torch")

_INPUT_EXAMPLE = [{"count": 1, "seed": 0}]
_MLMODEL = "MLmodel"
_UNDER_LOCK = "ganlib.under_lock"
# Of the logged model: the code that it was logged with.
_CODE_SHA256 = "ganlib.code_sha256"
# Where several files cannot be had, MLflow tells of each, with where from before all.
_FAILED_FILE = re.compile(r"##### File (.+) #####\n(.+)")

# Writes the model card that names the version into a folder, and returns its path.
WriteCard = Callable[[str, Path], Path]


class NotAsRegistered(UserError):
    """A version's files are gone from a store that answers, or are not those that were registered."""


def find_or_create_version(
    client: "MlflowClient",
    name: str,
    experiment: str,
    generator: Path,
    identity: Mapping[str, str],
    figures: Mapping[str, float],
    seen_images: int,
    background: tuple[int, int, int],
    say: Say,
) -> "ModelVersion":
    """The version that already holds this generator, its tags brought up to date, or a new one; with its figures.

    Args:
        client: of the store.
        name: of the registered model, which is made if need be.
        experiment: where the run that made the generator is.
        generator: its folder.
        identity: tags of the version, among them the generator's SHA-256.
        figures: of its quality, as metrics of the logged model.
        seen_images: in its training.
        background: what a translator lays transparent images on, 0 to 255.
        say: hears where another machine has registered the same generator at this moment.
    """
    from mlflow.exceptions import MlflowException

    digest = identity[GENERATOR_SHA256]
    version = _first_version(client, name, digest)
    if version is not None:
        for key, value in identity.items():
            if version.tags.get(key) != value:
                client.set_model_version_tag(name, version.version, key, value)
        _log_figures(client, experiment, version, figures, seen_images)
        return client.get_model_version(name, version.version)
    run_id = attach(client, experiment, digest, {})
    experiment_id = find_or_create_experiment(client, experiment)
    model = _find_or_log_model(client, experiment_id, run_id, generator, digest, seen_images, background)
    try:
        client.create_registered_model(name, description="Image generator; versions pass a gate to become champion.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name, source=f"models:/{model.model_id}", run_id=run_id, tags=dict(identity), model_id=model.model_id
    )
    first = _first_version(client, name, digest)
    if first is not None and first.version != version.version:
        client.delete_model_version(name, version.version)
        if _model_id(first) != model.model_id:
            client.delete_logged_model(model.model_id)
        say(
            f"model {name}: another process registered this generator first, as version {first.version}; "
            f"version {version.version} is removed"
        )
        version = first
    _log_figures(client, experiment, version, figures, seen_images)
    return version


def _first_version(client: "MlflowClient", name: str, digest: str) -> "ModelVersion | None":
    """Of the versions that hold a generator the one that all who register it go on with."""
    found = client.search_model_versions(f"name = '{name}' and tags.{GENERATOR_SHA256} = '{digest}'")
    return min(found, key=lambda each: int(each.version), default=None)


def keep_card(client: "MlflowClient", version: "ModelVersion", write_card: WriteCard) -> None:
    """Store the card with the version's model; it names the version, so that it cannot be written before."""
    with _unless_deleted(), tempfile.TemporaryDirectory() as folder:
        card = write_card(str(version.version), Path(folder))
        client.log_model_artifact(_model_id(version), str(card), "artifacts")


def describe_version(client: "MlflowClient", version: "ModelVersion", text: str, say: Say) -> None:
    """Describe the version and the run that made it; a description that a person has written stays, and is told of."""
    number = str(version.version)
    if is_ours(client.get_model_version(version.name, number).description):
        client.update_model_version(version.name, number, description=sealed(text))
    else:
        say(f"model {version.name}: a person has changed the description of version {number}; it stays")
    if version.run_id:
        with _unless_deleted():
            if not describe_run(client, version.run_id, text):
                say(f"a person has changed the description of the run of version {number}; it stays")


def _log_figures(
    client: "MlflowClient", experiment: str, version: "ModelVersion", figures: Mapping[str, float], seen_images: int
) -> None:
    """Those that the logged model does not show yet; MLflow keeps the metrics of a logged model with a run."""
    from mlflow.entities import Metric

    with _unless_deleted():
        model = client.get_logged_model(_model_id(version))
        newest = {each.key: each.value for each in sorted(model.metrics or (), key=lambda each: each.timestamp)}
        now_ms = time.time_ns() // 1_000_000
        missing = [
            Metric(key, value, now_ms, seen_images, model_id=model.model_id)
            for key, value in figures.items()
            if newest.get(key) != value
        ]
        if missing:
            run_id = attach(client, experiment, version.tags[GENERATOR_SHA256], {})
            client.log_batch(run_id, metrics=missing)


@contextmanager
def _unless_deleted() -> Iterator[None]:
    """A model or run that a person has deleted takes card and figures with it."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _model_id(version: "ModelVersion") -> str:
    return (version.source or "").removeprefix("models:/")


def _find_or_log_model(
    client: "MlflowClient",
    experiment_id: str,
    run_id: str,
    generator: Path,
    digest: str,
    seen_images: int,
    background: tuple[int, int, int],
) -> "LoggedModel":
    """A complete logged model of this generator; incomplete ones of an interrupted try of ours are removed."""
    import mlflow
    from mlflow.models import Model

    known = client.search_logged_models([experiment_id], filter_string=f"tags.{GENERATOR_SHA256} = '{digest}'")
    for model in known:
        if model.status == "READY":
            return model
    # Whoever else has one incomplete may be at work on it; who holds our lock is only us.
    ours = f"{socket.gethostname()}:{registry_lock()}"
    for model in known:
        if model.tags.get(_UNDER_LOCK) == ours:
            client.delete_logged_model(model.model_id)
    model = client.create_logged_model(
        experiment_id,
        name="generator",
        source_run_id=run_id,
        tags={GENERATOR_SHA256: digest, _UNDER_LOCK: ours, _CODE_SHA256: _code_sha256(MODEL_CODE, PACKAGE)},
        params=client.get_run(run_id).data.params,
    )
    address_all_of_mlflow()
    made = read_description(generator)
    with quiet_pyfunc(), _copies(generator=generator, ganlib=PACKAGE) as artifacts:
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=model.model_id,
            step=seen_images,
            python_model=str(MODEL_CODE),
            artifacts=artifacts,
            pip_requirements=_requirements(),
            input_example=_INPUT_EXAMPLE if made.inputs is None else [{"images": [_example(made)], "seed": 7}],
            model_config={"translates": made.inputs is not None, "background": list(background)},
        )
    return client.get_logged_model(model.model_id)


def _example(made: Description) -> str:
    """A black image in base64, as large as those that a translator learned from."""
    file = io.BytesIO()
    Image.new(MODES[made.image.channels], (made.image.size, made.image.size)).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


@contextmanager
def _copies(**folders: Path) -> Iterator[dict[str, str]]:
    """Files in the place of links, such as DVC makes into its cache: MLflow refuses those that leave their folder."""
    with tempfile.TemporaryDirectory() as root:
        for name, folder in folders.items():
            shutil.copytree(folder, Path(root, name), ignore=shutil.ignore_patterns("__pycache__"))
        yield {name: str(Path(root, name)) for name in folders}


@contextmanager
def quiet_pyfunc() -> Iterator[None]:
    """Silence what MLflow's own types provoke when mlflow.pyfunc is imported."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)
        yield


def _requirements() -> list[str]:
    """The installed versions, without the local part that names a build such as +cpu."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]


def download_generator(model_uri: str, folder: Path) -> Path:
    """Fetch the generator of a registered model, such as `models:/digits@champion`, below `folder`; its folder.

    Raises:
        UserError: the store does not answer or has no such model, or it is no model of a generator.
    """
    with reachable():
        connect_to_read()
        return _generator_in(_download(model_uri, folder), model_uri)


def fetch_version(client: "MlflowClient", version: "ModelVersion", folder: Path) -> tuple[Path, Path]:
    """Fetch a version as it was registered below `folder`; the folders of its model and of its generator.

    Raises:
        NotAsRegistered: surely the version's own fault.
        mlflow.exceptions.MlflowException, OSError: the store, the network or this machine fails.
    """
    from mlflow.exceptions import MlflowException

    uri = f"models:/{version.name}/{version.version}"
    address_all_of_mlflow()
    try:
        if _is_gone(client, version, uri):
            raise NotAsRegistered("its files are missing")
        model = _download(uri, folder)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise NotAsRegistered(f"its files are missing ({reason(error)})") from None
    try:
        generator = _generator_in(model, uri)
    except UserError as error:
        raise NotAsRegistered(str(error)) from None
    lacking = [name for name in (DESCRIPTION, WEIGHTS) if not (generator / name).exists()]
    if lacking:
        raise NotAsRegistered(f"its files are missing (no {lacking[0]})")
    digest = generator_sha256(generator)
    if digest != version.tags.get(GENERATOR_SHA256, digest):
        raise NotAsRegistered("its stored generator is not the one that was registered")
    with _unless_deleted():
        logged = client.get_logged_model(_model_id(version)).tags.get(_CODE_SHA256)
        if logged not in (None, _code_sha256(model / MODEL_CODE.name, model / "artifacts" / PACKAGE.name)):
            raise NotAsRegistered("its stored code is not the one that was registered")
    return model, generator


def _code_sha256(file: Path, package: Path) -> str:
    """Of the model's own code and of the package beside it."""
    digest = hashlib.sha256(file.read_bytes() if file.exists() else b"")
    for path in sorted(package.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def ensure_loadable(client: "MlflowClient", version: "ModelVersion", *, mend: str) -> None:
    """Load a version as whoever uses it will, and compare its generator with the one that was registered.

    Args:
        client: of the store.
        version: to be loaded.
        mend: what a person can do where it cannot be.

    Raises:
        UserError: it is not as registered or cannot be loaded.
        mlflow.exceptions.MlflowException, OSError: the store, the network or this machine fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        load_version(client, version, Path(folder), mend=mend)


def load_version(client: "MlflowClient", version: "ModelVersion", folder: Path, *, mend: str) -> "PyFuncModel":
    """Fetch a version below a folder and load it from there; the rest is as in `ensure_loadable`."""

    def refusal(why: object) -> UserError:
        return UserError(f"model {version.name}: version {version.version} cannot be loaded ({why}); {mend}")

    with quiet_pyfunc():
        import mlflow.pyfunc

        try:
            model, _ = fetch_version(client, version, folder)
        except NotAsRegistered as error:
            raise refusal(error) from None
        try:
            loaded: PyFuncModel = mlflow.pyfunc.load_model(str(model))
        except Exception as error:  # the model's own code may raise anything
            raise refusal(f"{type(error).__name__}: {reason(error)}") from None
        return loaded


def _download(model_uri: str, folder: Path) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    address_all_of_mlflow()
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=str(folder)))
    except MlflowException as error:
        first = _FAILED_FILE.search(str(error))
        if first is None:
            raise
        raise MlflowException(f"{model_uri}: {first[2]} ({first[1]})") from error


def _is_gone(client: "MlflowClient", version: "ModelVersion", uri: str) -> bool:
    """Whether the store says for certain that it has no files of the version.

    Raises:
        mlflow.exceptions.MlflowException, OSError: it cannot tell now.
    """
    import mlflow

    location = urlsplit(client.get_model_version_download_uri(version.name, version.version))
    if location.scheme not in {"", "file"}:
        return _MLMODEL not in {each.path for each in mlflow.artifacts.list_artifacts(uri)}
    try:
        # MLflow takes a folder that may not be read for one that is not there.
        Path(url2pathname(location.path), _MLMODEL).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def _generator_in(model: Path, model_uri: str) -> Path:
    """The generator's folder in a model that was fetched.

    Raises:
        UserError: it is no model of a generator.
    """
    import yaml
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        artifacts = Model.load(str(model)).flavors["python_function"]["artifacts"]
        return model / str(artifacts["generator"]["path"])
    except (MlflowException, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError):
        raise UserError(f"{model_uri}: contains no generator; expected a model created by the register stage") from None
