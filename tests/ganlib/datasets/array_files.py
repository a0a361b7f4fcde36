"""The same images in every array, shard and table format."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ganlib.datasets.items import Item, Part, Refusal, Source
from ganlib.errors import UserError

Pixels = NDArray[np.uint8]
# None: a source without splits of its own.
Sets = Mapping[str | None, tuple[Pixels, Sequence[int] | None]]


@dataclass(frozen=True)
class Layout:
    """How a format is written to a new folder; returns what `data.source` is to name."""

    write: Callable[[Path, Sets], Path]
    shapes: tuple[tuple[int, ...], ...] = ((5, 7), (6, 5, 3), (5, 6, 1), (7, 5, 4))


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def write_idx(folder: Path, sets: Sets, *, packed: bool = False) -> Path:
    for split, (images, labels) in sets.items():
        start = {None: "", "train": "train-", "test": "t10k-"}[split]
        files = {f"{start}images-idx{images.ndim}-ubyte": images}
        if labels is not None:
            files[f"{start}labels-idx1-ubyte"] = np.array(labels, np.uint8)
        for name, values in files.items():
            content = idx_bytes(values)
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def write_npz(folder: Path, sets: Sets, *, packed: bool = False, medmnist: bool = False) -> Path:
    arrays: dict[str, Any] = {}
    for split, (images, labels) in sets.items():
        image_name, label_name = ("images", "labels") if split is None else (f"x_{split}", f"y_{split}")
        if split is not None and medmnist:
            image_name, label_name = f"{split}_images", f"{split}_labels"
        arrays[image_name] = images
        if labels is not None:
            arrays[label_name] = np.array(labels, np.int64)[:, None] if medmnist else np.array(labels, np.uint8)
    path = folder / "images.npz"
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


def write_npy(folder: Path, sets: Sets) -> Path:
    for split, (images, labels) in sets.items():
        np.save(folder / f"{split or 'images'}.npy", images)
        if labels is not None:
            np.save(folder / f"{split or 'images'}_labels.npy", np.array(labels, np.int32))
    return folder


def _planes(images: Pixels) -> Pixels:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)


def _batches(sets: Sets) -> list[tuple[str, Pixels, list[int]]]:
    """Train images (all, where there are no splits) in two batches."""
    found = []
    for split, (images, labels) in sets.items():
        assert labels is not None
        planes = _planes(images)
        if split == "test":
            found.append(("test_batch", planes, list(labels)))
        else:
            half = (len(images) + 1) // 2
            found += [("data_batch_1", planes[:half], list(labels[:half]))]
            found += [("data_batch_2", planes[half:], list(labels[half:]))] if half < len(images) else []
    return found


def write_cifar_binary(folder: Path, sets: Sets) -> Path:
    for name, planes, labels in _batches(sets):
        rows = np.concatenate([np.array(labels, np.uint8)[:, None], planes], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return folder


def write_cifar_python(folder: Path, sets: Sets, *, protocol: int = 2) -> Path:
    for name, planes, labels in _batches(sets):
        batch = {b"data": planes, b"labels": labels, b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    return folder


def write_cifar100_binary(folder: Path, sets: Sets) -> Path:
    for split, (images, labels) in sets.items():
        assert labels is not None
        both = np.stack([np.zeros(len(labels)), labels], axis=1).astype(np.uint8)
        (folder / f"{split or 'train'}.bin").write_bytes(np.concatenate([both, _planes(images)], axis=1).tobytes())
    return folder


def write_cifar100_python(folder: Path, sets: Sets) -> Path:
    classes = 0
    for split, (images, labels) in sets.items():
        assert labels is not None
        classes = max(classes, *labels)
        batch = {"data": _planes(images), "fine_labels": list(labels), "coarse_labels": [0] * len(labels)}
        (folder / (split or "train")).write_bytes(pickle.dumps(batch, protocol=4))
    names = [str(label) for label in range(classes + 1)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, protocol=2))
    return folder


def write_cifar_tar(folder: Path, sets: Sets) -> Path:
    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    write_cifar_python(batches, sets)
    path = folder / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        # Out of order, as in the published one.
        for file in sorted(batches.iterdir(), reverse=True):
            archive.add(file, f"{batches.name}/{file.name}")
    return path


def image_table(images: Pixels, labels: Sequence[int] | None, *, struct: bool = True) -> pa.Table:
    contents: list[Any] = [png(image) for image in images]
    kind: pa.DataType = pa.binary()
    if struct:
        kind = pa.struct({"bytes": kind, "path": pa.string()})
        contents = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(contents)]
    columns: dict[str, Any] = {"image": pa.array(contents, kind)}
    return pa.table(columns if labels is None else columns | {"label": pa.array(list(labels), pa.int64())})


def with_names(table: pa.Table, names: Sequence[str]) -> pa.Table:
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_parquet(folder: Path, sets: Sets, *, files: int = 2, group_rows: int = 3, struct: bool = True) -> Path:
    for split, (images, labels) in sets.items():
        bounds = np.linspace(0, len(images), files + 1).astype(int)
        for shard, (first, last) in enumerate(pairwise(bounds)):
            table = image_table(images[first:last], None if labels is None else labels[first:last], struct=struct)
            path = folder / "data" / f"{split or 'part'}-{shard:05d}-of-{files:05d}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(table, path, row_group_size=group_rows)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(images: Pixels, labels: Sequence[int] | None, *, first: int = 0, as_json: bool = False) -> dict[str, bytes]:
    files = {}
    for row, image in enumerate(images):
        files[f"{first + row:09d}.png"] = png(image)
        if labels is not None and as_json:
            files[f"{first + row:09d}.json"] = json.dumps({"label": labels[row]}).encode()
        elif labels is not None:
            files[f"{first + row:09d}.cls"] = f"{labels[row]}\n".encode()
    return files


def write_shards(folder: Path, sets: Sets, *, as_json: bool = False) -> Path:
    for split, (images, labels) in sets.items():
        for shard, first in enumerate(range(0, len(images), 4)):
            run = slice(first, first + 4)
            files = samples(images[run], None if labels is None else labels[run], first=first, as_json=as_json)
            write_tar(folder / f"{split or 'shard'}-{shard:06d}.tar", files)
    return folder


LAYOUTS: dict[str, Layout] = {
    "idx": Layout(write_idx),
    "idx.gz": Layout(lambda folder, sets: write_idx(folder, sets, packed=True)),
    "npz": Layout(write_npz),
    "npz packed": Layout(lambda folder, sets: write_npz(folder, sets, packed=True)),
    "npz medmnist": Layout(lambda folder, sets: write_npz(folder, sets, medmnist=True)),
    "npy": Layout(write_npy),
    "cifar binary": Layout(write_cifar_binary, ((32, 32, 3),)),
    "cifar python": Layout(write_cifar_python, ((32, 32, 3),)),
    "cifar tar.gz": Layout(write_cifar_tar, ((32, 32, 3),)),
    "cifar100 binary": Layout(write_cifar100_binary, ((32, 32, 3),)),
    "cifar100 python": Layout(write_cifar100_python, ((32, 32, 3),)),
    "parquet": Layout(write_parquet),
    "parquet binary": Layout(lambda folder, sets: write_parquet(folder, sets, files=1, group_rows=1000, struct=False)),
    "webdataset": Layout(write_shards),
    "webdataset json": Layout(lambda folder, sets: write_shards(folder, sets, as_json=True)),
}


def all_parts(source: Source) -> list[Part]:
    """The parts, each as it arrives in another process."""
    return [pickle.loads(pickle.dumps(part)) for part in source.parts()]


def all_items(source: Source) -> list[Item | Refusal]:
    return [item for part in all_parts(source) for item in part.items()]


def mistake(source: Source) -> str | None:
    """The one line that reading it ends with, if it does."""
    try:
        all_items(source)
    except UserError as error:
        return str(error)
    return None


def usable(source: Source) -> list[Item]:
    found = all_items(source)
    assert all(isinstance(item, Item) for item in found)
    return [item for item in found if isinstance(item, Item)]


def as_pixels(item: Item) -> Pixels:
    if isinstance(item.content, bytes):
        return np.asarray(Image.open(io.BytesIO(item.content)))
    return item.content


def zip_of(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path
