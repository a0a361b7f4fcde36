"""The small classifier whose penultimate layer gives the `domain` features."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.arithmetic import exact_arithmetic
from ganlib.config import ExtractorOptions, ImageSpec
from ganlib.errors import UserError
from ganlib.events import EventSink, Progress, Scalars, ignore

Images = NDArray[np.uint8]
Batches = Callable[[int], tuple[Images, NDArray[np.int64]]]


# Widths double per halving up to this multiple: without a limit, images of 256 pixels would take 12 M parameters.
MOST_WIDENING = 8


class Classifier(nn.Module):
    """Strided convolutions down to at most 4 x 4 (28 gives 3 x 3), then `feature_dim` features, then logits.

    `width` is that of the first convolution; each halving doubles it, up to `MOST_WIDENING` times the first.
    """

    def __init__(self, *, image: ImageSpec, width: int, feature_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(image.channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        size, widest = image.size, MOST_WIDENING * width
        while size > 4:
            wider = min(2 * width, widest)
            layers += [nn.ReLU(), nn.Conv2d(width, wider, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(wider)]
            width, size = wider, size // 2
        self.trunk = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(width * size * size, feature_dim))
        self.head = nn.Linear(feature_dim, image.num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, C, H, W] in [-1, 1] -> features [N, D], at least 0, and logits [N, K]."""
        features = F.relu(self.trunk(images))
        return features, self.head(features)


def to_input(images: Images, device: torch.device) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def train_classifier(
    options: ExtractorOptions, image: ImageSpec, batches: Batches, device: torch.device, *, on_event: EventSink = ignore
) -> Classifier:
    """Train on batches(seen_images) with Adam and a cosine rate, without augmentation; the classifier is on the CPU.

    Deterministic for a given device, seed, thread count and sequence of batches.

    Raises:
        UserError: the loss is not finite at the end.
    """
    torch.manual_seed(options.seed)
    model = Classifier(image=image, width=options.width, feature_dim=options.feature_dim).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    started_s = time.monotonic()
    steps = -(-options.total_images // options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with exact_arithmetic():
        for step in range(steps):
            seen_images = step * options.batch_size
            images, labels = batches(seen_images)
            _, logits = model(to_input(images, device))
            loss = F.cross_entropy(logits, torch.from_numpy(labels).to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if step % 100 == 0:
                on_event(Scalars(seen_images, {"loss/classifier": loss.item()}))
            on_event(Progress(seen_images, options.total_images, seen_images / (time.monotonic() - started_s)))
    if not bool(torch.isfinite(loss)):
        raise UserError(f"extractor: the classifier's loss is {loss.item()}; lower extractor.learning_rate")
    return model.cpu().eval().requires_grad_(False)
