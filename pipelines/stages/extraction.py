"""Who looks at images, and the real ones that generators are compared with."""

import torch

from ganlib.config import EvaluateOptions, ExtractorName, RunConfig
from ganlib.datasets.packed import PackedData
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Notify, Reference, open_reference
from ganlib.metrics.extractors import DomainExtractor, Extractor, load_domain_extractor, load_extractor
from pipelines import paths


def project_extractor(name: ExtractorName, config: RunConfig, device: torch.device) -> Extractor:
    """The extractor of this name, with what this project has prepared for it.

    Raises:
        UserError: its weights are not to be had.
    """
    return load_extractor(name, config.extractor, folder=paths.EXTRACTOR, weights_cache=paths.WEIGHTS, device=device)


def evaluation_device(options: EvaluateOptions) -> torch.device:
    """Where images are made and looked at.

    Raises:
        UserError: there is no such device.
    """
    if options.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(options.device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"evaluate.device={options.device}: found {torch.cuda.device_count()} CUDA devices; set it to auto or cpu"
        )
    return device


def project_reference(config: RunConfig, data: PackedData, *, notify: Notify) -> Reference:
    """The project's real images as `evaluate` asks for them to be looked at.

    Raises:
        UserError: the device or an extractor cannot be had, or it sees nothing in the images.
    """
    device = evaluation_device(config.evaluate)
    extractor = project_extractor(config.evaluate.extractor, config, device)
    classifier: DomainExtractor | None = None
    if data.test.labels is not None:
        classifier = (
            extractor if isinstance(extractor, DomainExtractor) else load_domain_extractor(paths.EXTRACTOR, device)
        )
    return open_reference(data, extractor, classifier, cache=paths.FEATURES, notify=notify)
