"""What the machine has: devices, room on the disks, weights of extractors."""

import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ganlib.config import ExtractorName, RunConfig
from ganlib.errors import UserError
from ganlib.pretrained.packages import PACKAGED
from pipelines import paths
from pipelines.doctor.finding import Finding

LEAST_FREE_GIB = 2.0
TIMEOUT_S = 3.0
_GIB = 2**30


def devices(config: RunConfig) -> Iterator[Finding]:
    """What there is to compute on.

    Raises:
        UserError: `train` or `evaluate` ask for more.
    """
    import torch

    from ganlib.training.requirements import check_devices
    from pipelines.stages.extraction import prepare_evaluation

    check_devices(config.train)
    prepare_evaluation(config.evaluate)
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    named = (f"cuda:{index} {each.name}, {each.total_memory / _GIB:.0f} GiB" for index, each in enumerate(found))
    yield Finding("; ".join(named) or "no CUDA device: the CPU does the work")


def disks(project: Path) -> Iterator[Finding]:
    """Room where the project lies, and where temporary files do."""
    for what, place in {"the project": project, "temporary files": Path(tempfile.gettempdir())}.items():
        free_gib = shutil.disk_usage(place).free / _GIB
        told, enough = f"{free_gib:.1f} GiB free for {what} ({place.resolve()})", free_gib >= LEAST_FREE_GIB
        yield Finding(told if enough else f"{told}, expected {LEAST_FREE_GIB:g} or more; make room", well=enough)


def weights(project: Path, config: RunConfig, name: ExtractorName) -> Iterator[Finding]:
    """Whether the weights of an extractor are at hand, or can be had.

    Raises:
        UserError: they cannot, or are others than the parameters say.
    """
    if name == "random" or name == "random-96":
        yield Finding(f"{name}: needs no file")
        return
    if name == "domain":
        made = (project / paths.EXTRACTOR).is_dir()
        yield Finding(f"domain: {paths.EXTRACTOR} is {'here' if made else 'made by the extractor stage'}")
        return
    # Imported here: torch takes seconds that the others do not need.
    from ganlib.pretrained.weights import address_of, resolve_weights

    if name in PACKAGED:
        file = resolve_weights(name, config.extractor, project / paths.WEIGHTS)
        yield Finding(f"{name}: {file}, with the hash expected")
        return
    address = address_of(name)
    kept = project / paths.WEIGHTS / address.rsplit("/", 1)[1]
    if name in config.extractor.weights_files or kept.is_file():
        file = resolve_weights(name, config.extractor, project / paths.WEIGHTS)
        yield Finding(f"{name}: {file}, with the hash expected")
        return
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=TIMEOUT_S):
            yield Finding(f"{name}: not here yet; the first use fetches it from {address}, which answers")
    except OSError as error:
        raise UserError(
            f"{name}: not here, and {address} cannot be reached ({error}); bring the file to {kept}, or anywhere and "
            f"set extractor.weights_files.{name} to its path"
        ) from None
