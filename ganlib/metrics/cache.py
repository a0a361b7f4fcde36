"""Features of real images, kept by content: what the images are and what looked at them."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ganlib.metrics.classifier import Images
from ganlib.metrics.extractors import Extractor, Features

BATCH_SIZE = 250


def cached_features(
    extractor: Extractor,
    *,
    digest: str,
    count: int,
    take: Callable[[NDArray[np.int64]], Images],
    folder: Path,
    notify: Callable[[str], None],
) -> Features:
    """The features of all images of a split, extracted at the first call only.

    Args:
        extractor: its `identity` is part of the address.
        digest: of the images' content.
        count: how many images there are.
        take: indices -> uint8 [N, H, W, C].
        folder: where features are kept.
        notify: hears of a damaged file, which is made again.
    """
    key = hashlib.sha256(f"{extractor.identity} {digest}".encode()).hexdigest()[:32]
    path = folder / f"{extractor.name}-{key}.safetensors"
    if path.exists():
        try:
            stored = load_file(path)
            features = Features(stored["values"], stored["logits"])
            if len(features.values) == len(features.logits) == count:
                return features
            notify(f"{path}: holds {len(features.values)} features, expected {count}; extracting again")
        except (SafetensorError, KeyError, OSError) as error:
            notify(f"{path}: damaged feature cache ({error}); extracting again")
    starts = range(0, count, BATCH_SIZE)
    features = extractor.extract_all(take(np.arange(start, min(start + BATCH_SIZE, count))) for start in starts)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file({"values": features.values.contiguous(), "logits": features.logits.contiguous()}, partial)
    partial.replace(path)
    return features
