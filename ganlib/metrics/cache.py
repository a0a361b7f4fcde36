"""Features of real images, kept by content: the extractor's weights and the images' digest."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ganlib.metrics.extractors import Extractor, Features, Images


def cached_features(
    extractor: Extractor,
    digest: str,
    read: Callable[[], Iterable[Images]],
    folder: Path,
    *,
    notify: Callable[[str], None],
) -> Features:
    """The features of the images with this digest, extracted at the first call only.

    A damaged file is reported through `notify` and made again.
    """
    key = hashlib.sha256(f"{extractor.name} {extractor.weights_sha256} {digest}".encode()).hexdigest()[:32]
    path = folder / f"{extractor.name}-{key}.safetensors"
    if path.exists():
        try:
            stored = load_file(path)
            return Features(stored["values"], stored["logits"])
        except (SafetensorError, KeyError, OSError) as error:
            notify(f"{path}: damaged feature cache ({error}); extracting again")
    features = extractor.extract_all(read())
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file({"values": features.values.contiguous(), "logits": features.logits.contiguous()}, partial)
    partial.replace(path)
    return features
