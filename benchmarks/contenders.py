"""What is raced against each other, by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from benchmarks.plain import PlainLoop, Switches, folder_batches, memory_batches
from benchmarks.recipes import FAMILIES, Scale, configuration, lazily
from ganlib.config import ImageSpec, RunConfig
from ganlib.datasets.packed.reading import PackedData, Split, open_packed
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.graph import iteration_of
from ganlib.training.iteration import take_mean_figures
from ganlib.training.memory import set_thresholds
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state

ARITHMETIC = "layers+channels_last+fused+freeze+joint+bare"


class Contender(Protocol):
    """Something that trains."""

    def run(self, iterations: int) -> None:
        """Train so many iterations; the device need not have finished."""


@dataclass(frozen=True)
class Setting:
    """Where and on what a race is held."""

    family: str
    scale: Scale
    device: str
    threads: int
    images: Path
    packed: Path

    def configuration(self, *, fresh: bool = False, **train: object) -> RunConfig:
        """The family's configuration here."""
        here = {"device": self.device, "threads": self.threads}
        return configuration(FAMILIES[self.family], self.scale, fresh=fresh, **{**here, **train})

    @property
    def batch_size(self) -> int:
        """Images an iteration."""
        return FAMILIES[self.family].batch_size[self.scale]


class Ours:
    """Our whole iteration over packed data, with a log point at the end of each run."""

    def __init__(self, config: RunConfig, image: ImageSpec, split: Split) -> None:
        self.config, self.split = config, split
        self.device = prepare_device(config.train)
        self.recipe = Recipe.of(config, image)
        self.state: TrainState = initial_state(config, image, self.device)
        self.feed = SplitFeed(split, self.recipe, ALONE, self.device)
        self.iteration = iteration_of(self.state, self.recipe, self.feed, ALONE)

    def run(self, iterations: int) -> None:
        """Train and read the mean figures."""
        prepare_device(self.config.train)  # another contender may have left other settings
        for _ in range(iterations):
            self.iteration.run()
        take_mean_figures(self.state, ALONE)


class Plain:
    """The plain loop, with PyTorch's own settings of precision."""

    def __init__(self, loop: PlainLoop) -> None:
        self.loop = loop

    def run(self, iterations: int) -> None:
        """Train."""
        _pytorch_defaults(self.loop.device)
        self.loop.run(iterations)


class Arithmetic:
    """What the networks cost by themselves: the same passes and updates over and over on the same tensors."""

    def __init__(self, loop: PlainLoop, batch_size: int) -> None:
        self.loop = loop
        self.real = next(loop.batches).contiguous(memory_format=torch.channels_last)
        self.noise, self.fresh_noise = (
            torch.randn(batch_size, loop.generator.latent_dim, device=loop.device) for _ in range(2)
        )

    def run(self, iterations: int) -> None:
        """Train."""
        _pytorch_defaults(self.loop.device)
        for _ in range(iterations):
            self.loop.step(self.real, self.noise, self.fresh_noise if self.loop.fresh else None)


def contender(name: str, setting: Setting) -> Contender:
    """A contender, fresh, with weights that depend on the family alone.

    Names: `ours`, with any of `lazy`, `fresh`, `contiguous`, `compile`, `graph`, `bf16`, `tf32` joined by `+`;
    `folder` and `memory`, the plain loop over files and over images in memory,
    with any of the plain loop's switches; `arithmetic`.
    """
    kind, _, names = name.partition("+")
    data = open_packed(setting.packed)
    match kind:
        case "ours":
            return _ours(set(names.split("+")) - {""}, setting, data)
        case "folder" | "memory" | "arithmetic":
            config = setting.configuration()
            start = Ours(config, data.image, data.train).state
            device = start.sums.device
            if kind == "folder":
                batches = folder_batches(setting.images, setting.batch_size, device)
            else:
                pixels = torch.from_numpy(data.train.take(np.arange(len(data.train))))
                batches = memory_batches(pixels.permute(0, 3, 1, 2).contiguous(), setting.batch_size, device)
            switches = Switches.named(ARITHMETIC if kind == "arithmetic" else names)
            fresh = not FAMILIES[setting.family].reuses_fakes
            loop = PlainLoop(start, config, batches, switches, fresh=fresh)
            return Arithmetic(loop, setting.batch_size) if kind == "arithmetic" else Plain(loop)
        case _:
            raise ValueError(f"{name}: no such contender")


def _ours(names: set[str], setting: Setting, data: PackedData) -> Ours:
    precision = next((each for each in ("bf16", "tf32") if each in names), "fp32")
    layout = "contiguous" if "contiguous" in names else "channels_last"
    config = setting.configuration(
        precision=precision,
        fresh="fresh" in names,
        compile="compile" in names,
        cuda_graph="graph" in names,
        memory_format=layout,
    )
    return Ours(lazily(config) if "lazy" in names else config, data.image, data.train)


def _pytorch_defaults(device: torch.device) -> None:
    torch.use_deterministic_algorithms(False)
    # What glibc's own thresholds grow to in a process with large tensors.
    set_thresholds(mmap_mib=32, trim_mib=64, pad_mib=0)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # as most public examples set it
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
