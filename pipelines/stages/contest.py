"""Two generators on the project's real images, as the gate compares them."""

from pathlib import Path

import torch

from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import PackedData
from ganlib.errors import UserError
from ganlib.evaluation.comparison import Comparison, compare
from ganlib.evaluation.drawing import Draw, Notify, draw
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines.registry.gate import blaming_the_champion
from pipelines.stages.extraction import project_reference


def contest(
    challenger: Path, champion: Path, config: RunConfig, data: PackedData, device: torch.device, *, notify: Notify
) -> Comparison:
    """Draw from both and compare; features that are known, such as those of the evaluate stage, come from the cache.

    Args:
        challenger: folder of one generator.
        champion: folder of the other.
        config: what they are compared by, in `evaluate` and `register`.
        data: the real images.
        device: to make images and look at them on.
        notify: hears what is done.

    Raises:
        NotComparable: the champion is damaged or makes other images.
        UserError: the challenger does, an extractor cannot be had, or there are too few images.
    """
    reference = project_reference(config, data, device, notify=notify)

    def drawn(folder: Path) -> Draw:
        generator = ImageGenerator.load(folder, str(device))
        return draw(generator, generator_sha256(folder), reference, config.evaluate)

    ours = drawn(challenger)
    with blaming_the_champion():
        theirs = drawn(champion)
        if theirs.generator.inputs != ours.generator.inputs:
            raise UserError("it is given other inputs (data.inputs)")
        return compare(ours, theirs, reference, config.register_, config.evaluate)
