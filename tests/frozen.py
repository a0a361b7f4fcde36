"""Critics with frozen features, ready to look."""

from ganlib.config import ExtractorOptions
from ganlib.networks import Critic, FrozenFeaturesCritic
from ganlib.pretrained.weights import local_weights
from tests.configs import tiny_config

NAME = "efficientnet-lite0"


def with_weights(critic: Critic) -> Critic:
    """The critic itself; a frozen network in it gets the weights that its package brings."""
    if isinstance(critic, FrozenFeaturesCritic):
        options: ExtractorOptions = tiny_config({}).extractor
        critic.bring(local_weights(NAME, options))
    return critic
