"""Who looks at images, and the real ones that generators are compared with."""

import torch

from ganlib.arithmetic import allow_tf32
from ganlib.config import EvaluateOptions, RunConfig
from ganlib.datasets.packed.reading import PackedData
from ganlib.evaluation.drawing import Notify, Reference, open_reference
from ganlib.metrics.extractors import DomainExtractor, Extractor, load_domain_extractor
from pipelines import paths
from pipelines.stages.looking import chosen_device, project_extractor


def prepare_evaluation(options: EvaluateOptions) -> torch.device:
    """Set threads and precision for this process; return the device to make images and look at them on.

    Raises:
        UserError: there is no such device.
    """
    torch.set_num_threads(options.threads)
    device = chosen_device("evaluate", options.device)
    if device.type == "cuda":
        allow_tf32(False)  # it moves a path length by a sixth
        torch.backends.cudnn.deterministic = True
    return device


def project_reference(config: RunConfig, data: PackedData, device: torch.device, *, notify: Notify) -> Reference:
    """The project's real images as `evaluate` asks for them to be looked at.

    Raises:
        UserError: an extractor cannot be had, or sees nothing in the images.
    """
    return reference_by(project_extractor(config.evaluate.extractor, config, device), config, data, notify=notify)


def reference_by(extractor: Extractor, config: RunConfig, data: PackedData, *, notify: Notify) -> Reference:
    """The same, looked at by this extractor and, where there are classes, by the project's classifier.

    Raises:
        UserError: as `project_reference`.
    """
    device = extractor.device
    classifier: DomainExtractor | None = None
    if data.image.num_classes > 1:
        classifier = (
            extractor if isinstance(extractor, DomainExtractor) else load_domain_extractor(paths.EXTRACTOR, device)
        )
    return open_reference(data, extractor, classifier, cache=paths.FEATURES, notify=notify, inputs=config.data.inputs)
