"""What the bits of a training depend on: the address of its checkpoints, and in words what makes two differ."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from ganlib.config import ImageSpec, RunConfig
from ganlib.schedules import follow_run

FORMAT_VERSION = "6"
SECTIONS: dict[str, Any] = {**dict.fromkeys(("network", "loss", "augmentation", "train"), True), "data": {"inputs"}}
# Where it runs, when it stops, what it tells and keeps, what follows it.
NOT_IN_THE_BITS = (
    "device", "devices", "patience_images", "log_every_images", "sample_every_images", "checkpoint_every_images",
    "keep_checkpoints", "encoder", "alarms", "on_divergence", "max_rollbacks", "rollback_rate_factor",
)  # fmt: skip
TOTAL_IMAGES = "train.total_images"


@dataclass(frozen=True)
class Ingredients:
    """All that the bits of a training depend on.

    `parameters` are nested as in params.yaml, `versions` are by the name of
    what has them, `digests` by words for what they are of.
    """

    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    digests: Mapping[str, str]

    @classmethod
    def of(cls, config: RunConfig, image: ImageSpec, device: torch.device, digests: Mapping[str, str]) -> "Ingredients":
        """Those of a run on images of this kind, on a device of this type, and the digests of what it reads."""
        shape = {"image_size": image.size, "channels": image.channels}
        versions = {
            "checkpoint format": FORMAT_VERSION,
            "device type": device.type,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "torch-fidelity": version("torch-fidelity"),
        }
        names = {"class names": json.dumps(image.classes)}
        return cls({"data": shape, **_bit_parameters(config)}, versions, {**digests, **names})

    def address(self) -> str:
        """32 hexadecimal digits that no other ingredients have."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


def differences(old: Ingredients, new: Ingredients) -> list[str]:
    """What is not alike, a clause each: names with both values, digests in words."""
    found = [
        f"{name} was {json.dumps(before)} and is {json.dumps(after)}"
        + (", which schedules with over_images: null follow" if name == TOTAL_IMAGES else "")
        for name, before, after in _changed(old.parameters, new.parameters)
    ]
    found += [f"{name} was {before} and is {after}" for name, before, after in _changed(old.versions, new.versions)]
    return found + [f"{name} changed" for name, _, _ in _changed(old.digests, new.digests)]


def _bit_parameters(config: RunConfig) -> dict[str, Any]:
    """The parameters that the bits depend on; the length of the run only where a schedule follows it."""
    sections = config.model_dump(mode="json", include=SECTIONS)
    train = sections["train"]
    for name in NOT_IN_THE_BITS:
        del train[name]
    if not follow_run(config):
        del train["total_images"]
    if train["init_from"] is not None:
        del train["init_from"]["source"]  # the weights count, wherever they lie
    return sections


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, old, new) of the leaves that differ. A name on one side only has a kind beside it that differs."""
    for name in (each for each in old if each in new):
        before, after = old[name], new[name]
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name, before, after
