"""Where a training starts from: a folder, or a version in the model registry."""

import re
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from ganlib.config import InitialisationOptions
from ganlib.errors import UserError
from ganlib.packaging import DESCRIPTION, WEIGHTS, generator_sha256
from ganlib.replacing import replacing
from pipelines.registry.versions import download_generator
from pipelines.tracking.store import missing_database

MODEL_URI_SCHEME = "models:/"
_MODEL_URI = re.compile(r"models:/[A-Za-z0-9._-]+(@[A-Za-z0-9._-]+|/[0-9]+)")


def starting_point(options: InitialisationOptions, cache: Path) -> Path:
    """The local folder of the generator to start from; whether it fits is for `warm_start` to see.

    A registered model is fetched once and kept in `cache` under the address
    that it must have: to go on with a training asks no registry, and of
    several processes that start together one fetches it.

    Raises:
        UserError: no such folder, registry, model, version or alias, or the registry does not answer.
    """
    if not is_registered(options.source):
        return local_starting_point(options.source)
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / options.sha256
    with FileLock(cache / "lock"):
        if not _is_kept(kept, options.sha256):
            with replacing(kept) as partial:
                _fetch(options.source, partial)
    return kept


def _is_kept(folder: Path, sha256: str) -> bool:
    whole = (folder / DESCRIPTION).is_file() and (folder / WEIGHTS).is_file()
    return whole and generator_sha256(folder).startswith(sha256)


def _fetch(source: str, folder: Path) -> None:
    if (missing := missing_database()) is not None:
        raise UserError(
            f"train.init_from.source={source}: {missing.name} does not exist, so there is no registry; name another "
            "store in MLFLOW_TRACKING_URI, or give a generator's folder"
        )
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as download:
            shutil.copytree(download_generator(source, Path(download)), folder, dirs_exist_ok=True)
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
        raise UserError(f"train.init_from.source={source}: contains no {DESCRIPTION}; expected a generator's folder")
    return path
