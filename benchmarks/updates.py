"""A hundred images added to a packed set: what is decoded, changed, and pushed by DVC."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.children import run_child
from benchmarks.pictures import image_files, picture, split_folders

ADDED_IMAGES = 100
QUIET = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"}
# What the new files are called: after all others of their class, or anywhere between them.
Naming = Callable[[list[str], int, random.Random], str]
NAMINGS: dict[str, Naming] = {
    "last": lambda _stems, number, _draws: f"zzzz-{number:04}",
    "random": lambda stems, number, draws: f"{draws.choice(stems)}-{number:04}",
}


def growing(images: Path, scratch: Path, image_size: int, shard_images: int) -> dict[str, Any]:
    """Pack, version and push a set; the same with new images that sort last, and with new ones anywhere.

    `images` must not be changed by others; it is put back as it was.
    """
    project = Project(scratch)
    destination = scratch / "packed"

    def repack() -> Any:
        task = {
            "measure": "pack", "name": "ours+2", "images": str(images), "destination": str(destination),
            "image_size": image_size, "shard_images": shard_images, "keep_parts": True,
        }  # fmt: skip
        return run_child(task).result

    found = {"all": {"pack": repack()} | project.version(destination)}
    for naming in NAMINGS:
        added = add_images(images, naming)
        found[naming] = {"pack": repack()} | project.version(destination)
        for path in added:
            path.unlink()
        repack()  # so that the next new images meet the set as it was
    return found


def add_images(images: Path, naming: str, count: int = ADDED_IMAGES) -> list[Path]:
    """Write new images, spread over the (training) classes, of the size of those that are there."""
    draws, names = np.random.default_rng(1), random.Random(1)
    classes = sorted(path for path in split_folders(images)[0].iterdir() if path.is_dir())
    stems = {folder: sorted(path.stem for path in image_files(folder)) for folder in classes}
    with Image.open(image_files(classes[0])[0]) as first:
        width, height = first.size
    added = []
    for number in range(count):
        folder = classes[number % len(classes)]
        path = folder / f"{NAMINGS[naming](stems[folder], number, names)}.jpg"
        Image.fromarray(picture(draws, width, height)).save(path)
        added.append(path)
    return added


@dataclass(frozen=True)
class Project:
    """A DVC project without Git in a folder, with a remote in a folder inside."""

    folder: Path

    def __post_init__(self) -> None:
        configuration = self.folder / ".dvc" / "config"
        configuration.parent.mkdir(parents=True)
        configuration.write_text(
            f"[core]\n    no_scm = true\n    remote = store\n['remote \"store\"']\n    url = {self._store}\n", "utf-8"
        )

    @property
    def _store(self) -> Path:
        return self.folder / "store"

    def version(self, data: Path) -> dict[str, Any]:
        """Add a folder and push it: seconds of both, and what reached the remote."""
        files, size_bytes = self._stored()
        add_s = self._dvc("add", "--quiet", str(data))
        push_s = self._dvc("push", "--quiet")
        files_after, bytes_after = self._stored()
        return {
            "add_s": add_s,
            "push_s": push_s,
            "pushed_files": files_after - files,
            "pushed_bytes": bytes_after - size_bytes,
        }

    def _dvc(self, *arguments: str) -> float:
        start = time.perf_counter()
        environment = {**os.environ, **QUIET, "DVC_SITE_CACHE_DIR": str(self.folder / "site")}
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=self.folder, env=environment, check=True)
        return time.perf_counter() - start

    def _stored(self) -> tuple[int, int]:
        sizes = [path.stat().st_size for path in self._store.rglob("*") if path.is_file()]
        return len(sizes), sum(sizes)


def raw_files(images: Path, scratch: Path) -> dict[str, Any]:
    """The same files versioned as they are."""
    project = Project(scratch)
    data = shutil.copytree(images, scratch / "raw")
    return project.version(data)
