"""What all extractors have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

import torch
from torch import Tensor

import ganlib.arithmetic
import ganlib.metrics.classifier
import ganlib.metrics.extractors as package
import ganlib.pretrained
from ganlib.arithmetic import exact_arithmetic
from ganlib.config import ExtractorName
from ganlib.metrics.classifier import Images, to_input
from ganlib.source_digest import source_digest

ARITHMETIC = "float32 deterministic"  # whatever the process has set for its training


@dataclass(frozen=True)
class Features:
    """Of N images: `values` float32 [N, D] and `logits` float32 [N, K], K 0 of networks that know no classes."""

    values: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def with_logits(self, logits: Tensor) -> "Features":
        """The same features beside another network's logits of the same images."""
        assert len(logits) == len(self)
        return Features(self.values, logits)


class Extractor(ABC):
    """Turns images into features.

    Attributes:
        name: as in the parameters.
        alpha: what becomes of a fourth channel.
        packages: whose code, beside ours and PyTorch's, decides the features.
        pass_images: how many go through the network at once.
        weights_sha256: of the network's weights.
        device: where it computes.
    """

    name: ExtractorName
    alpha: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    pass_images: int = 64
    weights_sha256: str
    device: torch.device

    @property
    def identity(self) -> str:
        """Everything that the bits of the features depend on, but for the images."""
        code = source_digest(package, ganlib.metrics.classifier, ganlib.pretrained, ganlib.arithmetic)
        versions = {"torch": torch.__version__, **{package: version(package) for package in self.packages}}
        machine = f"{_machine(self.device)} {ARITHMETIC}"
        return f"{self.name} {self.weights_sha256} alpha={self.alpha} {machine} {versions} {code}"

    @abstractmethod
    def look(self, images: Tensor) -> Features:
        """Images [N, C, H, W] in [-1, 1] on the extractor's device, in inference mode -> features there."""

    def extract(self, images: Images) -> Features:
        """uint8 [N, H, W, C] -> features on the CPU."""
        parts = []
        with torch.inference_mode(), exact_arithmetic():
            for start in range(0, len(images), self.pass_images):
                seen = self.look(to_input(images[start : start + self.pass_images], self.device))
                parts.append(Features(seen.values.cpu(), seen.logits.cpu()))
        return _joined(parts)

    def see(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] that need not be multiples of 1/127.5 -> features [N, D] on the CPU.

        Where they are, those of `extract` for as many images at once.

        Raises:
            UserError: the network takes whole levels only.
        """
        with torch.inference_mode(), exact_arithmetic():
            parts = [
                self.look(part.to(self.device, torch.float32)).values.cpu()
                for part in torch.split(images, self.pass_images)
            ]
        return torch.cat(parts)

    def extract_all(self, batches: Iterable[Images]) -> Features:
        """The features of all batches, in order."""
        return _joined([self.extract(images) for images in batches])


def _joined(parts: list[Features]) -> Features:
    return Features(torch.cat([part.values for part in parts]), torch.cat([part.logits for part in parts]))


def _machine(device: torch.device) -> str:
    """What of the machine decides bits: kernels are chosen by it, and sums are cut by the number of threads."""
    if device.type == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()} threads={torch.get_num_threads()}"
    return torch.cuda.get_device_name(device)
