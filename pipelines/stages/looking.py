"""The extractor that a stage looks at images with, and the device that it does so on."""

import torch

from ganlib.arithmetic import device_named
from ganlib.config import ExtractorName, RunConfig
from ganlib.errors import UserError
from ganlib.metrics.extractors import Extractor, load_extractor
from pipelines import paths


def project_extractor(name: ExtractorName, config: RunConfig, device: torch.device) -> Extractor:
    """The extractor of this name, with what this project has prepared for it.

    Raises:
        UserError: its weights are not to be had.
    """
    return load_extractor(name, config.extractor, folder=paths.EXTRACTOR, weights_cache=paths.WEIGHTS, device=device)


def chosen_device(section: str, name: str) -> torch.device:
    """The device that `section.device` names.

    Raises:
        UserError: there is no such device.
    """
    device = device_named(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{section}.device={name}: found {torch.cuda.device_count()} CUDA devices; set it to auto or cpu"
        )
    return device
