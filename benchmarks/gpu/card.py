"""What is put on the card: presets at their real widths, the raced families, and images of noise."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.contenders import Ours, Plain
from benchmarks.plain import PlainLoop, Switches, memory_batches
from benchmarks.recipes import FAMILIES, configuration
from ganlib.config import ImageSpec, RunConfig
from ganlib.datasets.packed.reading import Split
from pipelines.presets import known_presets, preset_text

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 2048
CLASSES = tuple("abcdefghij")
NARROW = {"generator_width": 4, "critic_width": 4, "latent_dim": 8, "embedding_dim": 4, "group_width": 4}
WIDTHS = {"widths", "generator_widths", "critic_widths"}


@dataclass(frozen=True)
class Card:
    """A GPU, or the CPU that stands in for one while rehearsing.

    A rehearsal has networks of a few channels and batches of four, and replaces what a CPU lacks:
    TF32 and fp16 by fp32, graphs and compiled networks by eager ones.
    """

    rehearsing: bool

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return torch.device("cpu" if self.rehearsing else "cuda")

    @property
    def slot_s(self) -> float:
        """How long a pace is measured."""
        return 0.02 if self.rehearsing else 0.7

    def iterations(self, count: int) -> int:
        """So many, or one in a rehearsal."""
        return 1 if self.rehearsing else count

    def preset(self, name: str, **train: Any) -> RunConfig:
        """A preset, with these parameters of `train` changed."""
        values = yaml.safe_load(preset_text(ROOT / "presets" / f"{name}.yaml"))
        if self.rehearsing:
            values["data"]["image_size"] = min(values["data"]["image_size"], 32)
            _narrow(values["network"], values["data"]["image_size"])
        values["train"].update(device="auto", devices=1, threads=1, **self._possible(train))
        if self.rehearsing:
            values["train"].update(batch_size=4, precision=self._possible(values["train"])["precision"])
        return RunConfig.model_validate(values)

    def family(self, name: str, **train: Any) -> RunConfig:
        """A family of the training benchmark."""
        here: dict[str, Any] = {"device": "auto", "threads": 1} | self._possible(train)
        return configuration(FAMILIES[name], "toy" if self.rehearsing else "cuda", **here)

    def ours(self, config: RunConfig) -> Ours:
        """Our training at its start, on noise."""
        image = image_of(config)
        return Ours(config, image, noise(image, IMAGES if not self.rehearsing else 64))

    def plain(self, config: RunConfig, *, bf16: bool) -> Plain:
        """The plain loop from the same start, on images that lie in the device's memory."""
        start = self.ours(config)
        pixels = torch.from_numpy(start.split.take(np.arange(len(start.split)))).permute(0, 3, 1, 2).contiguous()
        batches = memory_batches(pixels, config.train.batch_size, self.device)
        switches = Switches.named("bf16" if bf16 else "")
        return Plain(PlainLoop(start.state, config, batches, switches, fresh=not config.train.reuse_fakes))

    def _possible(self, train: dict[str, Any]) -> dict[str, Any]:
        """What a CPU can do of it, in a rehearsal."""
        if not self.rehearsing:
            return train
        replaced = {"cuda_graph": False, "compile": False}
        if train.get("precision") in ("tf32", "fp16"):
            replaced["precision"] = "fp32"  # type: ignore[assignment]
        small = {"batch_size": 4} if "batch_size" in train else {}
        return train | {name: value for name, value in replaced.items() if name in train} | small


def presets() -> list[str]:
    """All that ship, by name."""
    return [preset.name for preset in known_presets(ROOT)]


def image_of(config: RunConfig) -> ImageSpec:
    """Images as the configuration wants them."""
    classes = CLASSES if config.network.conditional else ()
    return ImageSpec(size=config.data.image_size, channels=config.data.channels, classes=classes)


@cache
def noise(image: ImageSpec, count: int) -> Split:
    """A split of images without content."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, image.size, image.size, image.channels), dtype=np.uint8)
    labels = draw.integers(0, len(image.classes), count) if image.classes else None
    return Split("train", "noise", labels, [pixels], np.array([0, count]))


def _narrow(network: dict[str, Any], size: int) -> None:
    network.update({name: NARROW[name] for name in network.keys() & NARROW.keys()})
    resolutions = (size // 4).bit_length()
    for name in network.keys() & WIDTHS:
        network[name] = [8] * min(len(network[name]), resolutions)
