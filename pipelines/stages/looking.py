"""The extractor that a stage looks at images with."""

import torch

from ganlib.config import ExtractorName, RunConfig
from ganlib.metrics.extractors import Extractor, load_extractor
from pipelines import paths


def project_extractor(name: ExtractorName, config: RunConfig, device: torch.device) -> Extractor:
    """The extractor of this name, with what this project has prepared for it.

    Raises:
        UserError: its weights are not to be had.
    """
    return load_extractor(name, config.extractor, folder=paths.EXTRACTOR, weights_cache=paths.WEIGHTS, device=device)
