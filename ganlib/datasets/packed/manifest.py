"""What `pack` writes beside the shards, and `open_packed` reads."""

import json
from pathlib import Path
from typing import Literal

from ganlib.config import CleaningOptions, DataCounts, ImageSpec, NonNegativeInt, Options, PositiveInt, read_record

MANIFEST = "manifest.json"
QUARANTINE = "quarantine.csv"


class SplitSummary(Options):
    """One split: its size, classes, content and statistics.

    `shards` holds the number of images in each file. `digest` is the SHA-256
    of pixels and labels in order, whatever the shards' size. Mean and standard
    deviation are per channel, of pixels in [0, 255].
    """

    images: PositiveInt
    shards: tuple[PositiveInt, ...]
    per_class: dict[str, int]
    digest: str
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]


class Manifest(Options):
    """The packed data described; a function of the images, the `data` parameters and the decoders' versions.

    Where it is `paired`, images are packed with what a translator is given of
    them on their right. `files` is all that the source held, of which `dropped` are left out;
    `cases` counts by kind and action. `source_digest` is the SHA-256 of the
    pictures as they were, in order.
    """

    format_version: Literal[3]
    image: ImageSpec
    paired: bool
    fit: str
    resizer: str
    cleaning: CleaningOptions
    versions: dict[str, str]
    source_digest: str
    files: PositiveInt
    dropped: NonNegativeInt
    cases: dict[str, dict[str, int]]
    train: SplitSummary
    test: SplitSummary

    @property
    def splits(self) -> dict[str, SplitSummary]:
        """Both splits by name."""
        return {"train": self.train, "test": self.test}

    @property
    def counts(self) -> DataCounts:
        """What parameters can be held against."""
        return DataCounts(
            train=self.train.images,
            test=self.test.images,
            classes=self.image.num_classes,
            test_per_class=self.test.per_class,
        )

    @property
    def totals(self) -> dict[str, float]:
        """Figures by name: files, those left out, images of each split, and `cases/<kind>/<action>`."""
        totals: dict[str, float] = {
            "files": self.files,
            "dropped": self.dropped,
            "dropped_share": self.dropped / self.files,
        }
        totals |= {f"{name}/images": split.images for name, split in self.splits.items()}
        for kind, actions in self.cases.items():
            totals |= {f"cases/{kind}/{action}": count for action, count in actions.items()}
        return totals

    def write(self, folder: Path) -> None:
        """Write `manifest.json`; equal manifests give equal bytes."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read `manifest.json`.

        Raises:
            UserError: missing, damaged or of another format version.
        """
        return read_record(cls, folder / MANIFEST, "preprocess")


def shard_name(split: str, index: int) -> str:
    """File name of a shard: uint8 [N, H, W, C]."""
    return f"{split}-{index:05d}.npy"


def labels_name(split: str) -> str:
    """File name of a split's labels: int64 [N]; absent when unlabelled."""
    return f"{split}-labels.npy"
