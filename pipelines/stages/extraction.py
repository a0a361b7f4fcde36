"""Who looks at images, and the real ones that generators are compared with."""

import torch

from ganlib.config import ExtractorName, RunConfig
from ganlib.datasets.packed import PackedData
from ganlib.evaluation.drawing import Notify, Reference, open_reference
from ganlib.metrics.extractors import DomainExtractor, Extractor, load_domain_extractor, load_extractor
from pipelines import paths


def project_extractor(name: ExtractorName, config: RunConfig, device: torch.device) -> Extractor:
    """The extractor of this name, with what this project has prepared for it.

    Raises:
        UserError: its weights are not to be had.
    """
    return load_extractor(name, config.extractor, folder=paths.EXTRACTOR, weights_cache=paths.WEIGHTS, device=device)


def project_reference(config: RunConfig, data: PackedData, *, notify: Notify) -> Reference:
    """The project's real images as `evaluate` asks for them to be looked at, on the CPU.

    Raises:
        UserError: an extractor cannot be had, or sees nothing in the images.
    """
    device = torch.device("cpu")
    extractor = project_extractor(config.evaluate.extractor, config, device)
    classifier: DomainExtractor | None = None
    if data.test.labels is not None:
        classifier = (
            extractor if isinstance(extractor, DomainExtractor) else load_domain_extractor(paths.EXTRACTOR, device)
        )
    return open_reference(data, extractor, classifier, cache=paths.FEATURES, notify=notify)
