"""Images as networks that know colours alone take them."""

from torch import Tensor


def on_white(images: Tensor) -> Tensor:
    """Grey, RGB or RGBA in [-1, 1], [N, C, H, W] -> RGB [N, 3, H, W]: grey repeated, RGBA composited on white."""
    if images.shape[1] == 4:
        opacity = (images[:, 3:] + 1) / 2
        return images[:, :3] * opacity + (1 - opacity)
    return images.expand(-1, 3, -1, -1)
