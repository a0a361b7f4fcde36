"""Where a training starts from: a folder, or a version in the model registry."""

import re
import shutil
from pathlib import Path

from ganlib.errors import UserError
from ganlib.packaging import DESCRIPTION
from pipelines.mlflow_store import LOCAL_DATABASE, configured
from pipelines.registry import download_generator

MODEL_URI_SCHEME = "models:/"
_MODEL_URI = re.compile(r"models:/[A-Za-z0-9._-]+(@[A-Za-z0-9._-]+|/[0-9]+)")


def starting_point(source: str, folder: Path) -> Path:
    """The local folder of `train.init_from.source`; a registered model is fetched into `folder`, replacing that.

    Raises:
        UserError: no such folder, registry, model, version or alias, or the registry does not answer.
    """
    if not is_registered(source):
        return local_starting_point(source)
    if not configured() and not Path(LOCAL_DATABASE).exists():
        raise UserError(
            f"train.init_from.source={source}: {LOCAL_DATABASE} is not here, so no registry is; "
            "set MLFLOW_TRACKING_URI, or give a generator's folder"
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    try:
        return download_generator(source, folder)
    except UserError as error:
        raise UserError(f"train.init_from.source={source}: {error}") from None


def is_registered(source: str) -> bool:
    """Whether a source names a registered model.

    Raises:
        UserError: it begins like one, but names neither alias nor version.
    """
    if not source.startswith("models:"):
        return False
    if not _MODEL_URI.fullmatch(source):
        raise UserError(
            f"train.init_from.source={source}: expected {MODEL_URI_SCHEME}NAME@ALIAS or {MODEL_URI_SCHEME}NAME/VERSION"
        )
    return True


def local_starting_point(source: str, project: Path = Path()) -> Path:
    """The folder that a source names, seen from the project's folder.

    Raises:
        UserError: it is none, or holds no generator.
    """
    path = project / source
    if not path.is_dir():
        raise UserError(
            f"train.init_from.source={source}: no such folder; give a generator's folder or "
            f"{MODEL_URI_SCHEME}NAME@ALIAS"
        )
    if not (path / DESCRIPTION).is_file():
        raise UserError(f"train.init_from.source={source}: holds no {DESCRIPTION}; expected a generator's folder")
    return path
