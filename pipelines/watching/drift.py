"""Newly arrived files beside the held-out images, by the project's extractor."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import open_packed
from ganlib.drift import LEAST, Drift, permutation_test
from pipelines import paths
from pipelines.image_files import read_images
from pipelines.stages.extraction import prepare_evaluation
from pipelines.stages.looking import project_extractor

MOST = 1000  # images of a side: the test takes a second, and sees small differences
PERMUTATIONS = 999


def drift_of(files: Sequence[Path], config: RunConfig) -> Drift | None:
    """Compare files with the held-out images, which are of the training images' kind and were not learned from.

    Args:
        files: at most MOST of them are looked at, from all parts.
        config: of the project, whose folder is the working directory.

    Returns:
        None: too few of them can be used.

    Raises:
        UserError: the project has no packed images or no extractor yet.
    """
    data = open_packed(paths.PROCESSED)
    extractor = project_extractor(config.evaluate.extractor, config, prepare_evaluation(config.evaluate))
    usable, _ = read_images([files[place] for place in _spread(len(files))], config.data)
    if min(len(usable), len(data.test)) < LEAST:
        return None
    new = np.stack([each.pixels for each in usable])
    known = data.test.take(_spread(len(data.test)))
    first, second = (extractor.extract(images).values for images in (new, known))
    return permutation_test(first, second, permutations=PERMUTATIONS, seed=config.evaluate.seed)


def _spread(count: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, min(MOST, count)).astype(np.int64)
