"""Feature extractors: uint8 images in, features and class logits out."""

from pathlib import Path

import torch

from ganlib.config import ExtractorName, ExtractorOptions
from ganlib.metrics.extractors.base import Extractor, Features
from ganlib.metrics.extractors.domain import (
    DomainExtractor,
    load_domain_extractor,
    save_extractor,
    unlabelled_message,
)

__all__ = [
    "DomainExtractor",
    "Extractor",
    "Features",
    "load_domain_extractor",
    "load_extractor",
    "save_extractor",
    "unlabelled_message",
]


def load_extractor(
    name: ExtractorName, options: ExtractorOptions, *, folder: Path, weights_cache: Path, device: torch.device
) -> Extractor:
    """The extractor of this name, ready to use.

    Args:
        name: which.
        options: where weights are and what they must be.
        folder: of the `domain` extractor.
        weights_cache: folder for downloaded weights.
        device: to compute on.

    Raises:
        UserError: its weights are not to be had, and how to mend that.
    """
    if name == "domain":
        return load_domain_extractor(folder, device)
    # Imported here: torch-fidelity and torchvision take seconds that domain features do not need.
    from ganlib.metrics.extractors import dinov2, efficientnet, inception, pretrained
    from ganlib.pretrained import weights

    if name == "random" or name == "random-96":
        return inception.untrained_inception(name, options.seed, device)
    path = weights.resolve_weights(name, options, weights_cache)
    if name == "inception":
        return inception.load_inception(path, device)
    if name == "efficientnet-lite0":
        return efficientnet.load_efficientnet(name, path, device)
    if name in dinov2.SIZES:
        return dinov2.load_dinov2(name, path, device)
    return pretrained.load_pretrained(name, path, device)
