"""Features of images, kept by content: what the images are and what looked at them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ganlib.counting import counted
from ganlib.metrics.classifier import Images
from ganlib.metrics.extractors import Extractor, Features
from ganlib.tensor_files import save_tensors

# What is kept at most; the least recently used go first. 50,000 x 2,048 features are 0.4 GiB.
LARGEST_CACHE_BYTES = 8 * 2**30


def cached_features(
    extractor: Extractor,
    *,
    digest: str,
    count: int,
    batches: Iterable[Images],
    folder: Path,
    notify: Callable[[str], None],
) -> Features:
    """The features of some images, extracted at the first call only.

    Args:
        extractor: its `identity` is part of the address.
        digest: of the images' content, or of all that decides it.
        count: how many images there are.
        batches: the images, uint8 [n, H, W, C] each; not touched when the features are known.
        folder: where features are kept.
        notify: hears how far long work has come, and of a damaged file, which is made again.
    """
    key = hashlib.sha256(f"{extractor.identity} {digest}".encode()).hexdigest()[:32]
    path = folder / f"{extractor.name}-{key}.safetensors"
    if path.exists():
        try:
            features = _read(path, count)
            os.utime(path)
            return features
        except (SafetensorError, ValueError, KeyError, OSError) as error:
            notify(f"{path}: damaged feature cache ({' '.join(str(error).split())}); extracting again")
    features = extractor.extract_all(counted(batches, count, f"{extractor.name} features", notify))
    assert len(features) == count
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    tensors = {"values": features.values.contiguous(), "logits": features.logits.contiguous()}
    try:
        save_tensors(tensors, partial, metadata={"sha256": _digest(features)})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _tidy(folder, path)
    return features


def _tidy(folder: Path, newest: Path) -> None:
    """Forget what was not used for longest, beyond the largest size, be it what a killed run has left unfinished."""
    found = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has tidied up or finished its file
            found.append((path.stat(), path))
    excess = sum(state.st_size for state, _ in found) - LARGEST_CACHE_BYTES
    for state, path in sorted(found, key=lambda each: each[0].st_mtime_ns):
        if excess <= 0:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            excess -= state.st_size


def _read(path: Path, count: int) -> Features:
    with safe_open(path, framework="pt") as file:
        features = Features(file.get_tensor("values"), file.get_tensor("logits"))
        expected = (file.metadata() or {})["sha256"]
    if not len(features.values) == len(features.logits) == count:
        raise ValueError(f"holds {len(features.values)} features, expected {count}")
    if _digest(features) != expected:
        raise ValueError("its content is not what was written")
    return features


def _digest(features: Features) -> str:
    digest = hashlib.sha256()
    for tensor in (features.values, features.logits):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
