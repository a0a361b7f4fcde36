"""How many images there are, as far as that is known without decoding them."""

import math
import os
from pathlib import Path
from typing import Any

import yaml

from ganlib.config import DataCounts, DataOptions
from ganlib.datasets.files.places import local_path
from ganlib.datasets.packed.manifest import Manifest
from ganlib.datasets.sources.opening import is_labelled, most_images
from ganlib.errors import UserError
from pipelines import paths

# Standard deviations above the expected number of held-out images that chance does not exceed.
_SPREAD = 4.0


def known_counts(project: Path, options: DataOptions) -> DataCounts:
    """Of a source that is no URL: exactly, where it is packed and as it was, else the most that its names allow.

    A source that cannot be opened is left to the preprocess stage, which says what it is.
    """
    return _packed(project, options) or _listed(project, options)


def _packed(project: Path, options: DataOptions) -> DataCounts | None:
    """The counts of `data/processed`, if it was made with these parameters of a source of the same size."""
    try:
        lock = yaml.load((project / paths.DVC_LOCK).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        stage = lock["stages"]["preprocess"]
        packed = stage["params"][str(paths.PARAMS)]["data"]
        (source,) = (dep for dep in stage["deps"] if dep["path"] == options.source)
        if DataOptions.model_validate(packed) != options or not _as_recorded(project / options.source, source):
            return None
        return Manifest.read(project / paths.PROCESSED).counts
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, UserError):
        return None  # not packed, or not by this version


def _as_recorded(source: Path, recorded: dict[str, Any]) -> bool:
    if source.is_file():
        return bool(source.stat().st_size == recorded["size"])
    return bool(sum(len(names) for _, _, names in os.walk(source)) == recorded["nfiles"])


def _listed(project: Path, options: DataOptions) -> DataCounts:
    here = options.model_copy(update={"source": str(project / local_path(options.source))})
    try:
        classes = None if is_labelled(here) else 0
        listed = most_images(here)
    except UserError:
        return DataCounts(None, None, None)
    if listed is None:
        return DataCounts(None, None, classes)
    count, in_splits = listed
    held_out = count
    if options.split == "hash" or not in_splits:
        expected = count * options.test_share
        held_out = min(count, math.ceil(expected + _SPREAD * math.sqrt(expected)))
    return DataCounts(train=count, test=held_out, classes=classes, exact=False)
