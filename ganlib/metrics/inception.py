"""The standard Inception weights: from a local file or their official address, checked by hash."""

import hashlib
import io
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from ganlib.errors import UserError

LAYERS = ("2048", "logits_unbiased")
DOWNLOAD_TIMEOUT_S = 30


def resolve_weights(weights: str | None, sha256: str, cache: Path) -> Path:
    """A local file with the Inception weights whose SHA-256 starts with `sha256`.

    Args:
        weights: a path, or None for the official address (kept in `cache`).
        sha256: the expected digest or at least its first 8 hexadecimal digits.
        cache: folder for downloads.

    Raises:
        UserError: the file is missing, has another hash, or the address cannot be reached.
    """
    if weights is not None:
        path = Path(weights)
        if not path.is_file():
            raise UserError(f"extractor.inception_weights={weights}: no such file; {_how_to_bring(sha256)}")
        _check(path, sha256)
        return path
    path = cache / f"inception-{sha256}.pth"
    if not path.is_file():
        _download(path)
    _check(path, sha256)
    return path


def load_inception(path: Path, device: torch.device) -> Any:
    """torch-fidelity's `inception-v3-compat`, giving ([N, 2048], [N, 1008] logits) for uint8 [N, 3, H, W].

    The file is read without unpickling code; torch-fidelity's own reader would unpickle it.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        safe = io.BytesIO()
        torch.save(state, safe)
        safe.seek(0)
        model = FeatureExtractorInceptionV3("inception-v3-compat", list(LAYERS), feature_extractor_weights_path=safe)
    except Exception as error:  # torch raises many kinds for a file that is not weights
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not Inception weights in PyTorch format ({reason})") from None
    return model.to(device)


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise UserError(
            f"{path}: SHA-256 is {found[:16]}…, expected {sha256}…; "
            "delete it and provide the right file, or set extractor.inception_sha256 to the hash of yours"
        )


def _download(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with urllib.request.urlopen(URL_INCEPTION_V3, timeout=DOWNLOAD_TIMEOUT_S) as response:
            partial.write_bytes(response.read())
        partial.replace(path)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"extractor.inception_weights=null: {URL_INCEPTION_V3} cannot be reached ({error}); {_how_to_bring('')}"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _how_to_bring(sha256: str) -> str:
    name = URL_INCEPTION_V3.rsplit("/", 1)[1]
    return f"download {name} from torch-fidelity's release v0.2.0 and set extractor.inception_weights to its path{sha256 and f' (SHA-256 {sha256}…)'}"  # noqa: E501
