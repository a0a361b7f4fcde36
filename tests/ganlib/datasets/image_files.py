"""Image files, folders and zips for the tests of the data room."""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from ganlib.config import DataOptions, PreprocessOptions
from ganlib.datasets.packed.manifest import Manifest
from ganlib.datasets.packing.pack import pack
from ganlib.events import EventSink, ignore
from tests.configs import PRESET


def data_options(source: Path | str, **changes: Any) -> DataOptions:
    """Small limits, and the default policies but for `cleaning`, `policy` and `limits` given as mappings."""
    preset = yaml.safe_load(PRESET.read_text(encoding="utf-8"))["data"]
    values = preset | {"source": str(source), "channels": 1, "test_share": 0.3, "shard_images": 16}
    cleaning = preset["cleaning"] | {"max_dropped_share": 0.5} | changes.pop("cleaning", {})
    values["cleaning"] = cleaning | {"policy": cleaning["policy"] | changes.pop("policy", {})}
    values["limits"] = preset["limits"] | {"max_pixels": 100_000} | changes.pop("limits", {})
    return DataOptions.model_validate(values | changes)


def preprocess_options(workers: int = 1, *, keep_parts: bool = False) -> PreprocessOptions:
    return PreprocessOptions(executor="processes", workers=workers, dask_address=None, keep_parts=keep_parts)


def pack_images(
    options: DataOptions, destination: Path, *, scratch: Path | None = None, on_event: EventSink = ignore
) -> Manifest:
    """Pack with one worker; nothing is kept, unless there is a scratch folder to keep it in."""
    if scratch is not None:
        return pack(options, preprocess_options(keep_parts=True), destination, scratch=scratch, on_event=on_event)
    with tempfile.TemporaryDirectory() as folder:
        return pack(options, preprocess_options(), destination, scratch=Path(folder), on_event=on_event)


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape or (16, 16), dtype=np.uint8)


def encode(image: Image.Image | NDArray[Any], image_format: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, image_format, **how)
    return buffer.getvalue()


def noise_files(count: int, *, classes: int = 2, first: int = 0) -> dict[str, bytes]:
    """Distinct images in class folders; the file of a number is always the same."""
    return {f"class{n % classes}/{n:04d}.png": encode(noise(n)) for n in range(first, first + count)}


def write_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
