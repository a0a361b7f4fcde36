"""A picture of any size to squares of one size and number of channels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlib.config import MODES, DataOptions

_RESAMPLING = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def fit(pixels: NDArray[np.uint8], options: DataOptions) -> NDArray[np.uint8]:
    """Crop, pad or tile, and resize with antialiasing by Pillow, whose numbers metrics are compared on.

    `crop` takes the centre square. `pad` makes the longer side fit and puts
    the picture in the middle of `data.background`, or of nothing where alpha is
    kept. `tile` takes as many whole squares as there are around the centre, at
    full resolution; a picture smaller than one is cropped.

    For 1 and 3 channels, transparency is laid on `data.background`. For 4 it
    is kept, a picture without it is opaque, colours are weighted by alpha when
    resized, and those of wholly transparent pixels are black, as nobody can
    see them.

    Args:
        pixels: uint8 [H, W], [H, W, 3] or [H, W, 4]: L, RGB or RGBA.
        options: size, channels, fit, background and resizer.

    Returns:
        uint8 [rows * size, columns * size, channels] in [0, 255]; one row and
        column of squares unless tiled.
    """
    size, channels, background = options.image_size, options.channels, options.background
    if pixels.shape == (size, size, 3) and channels == 3:
        return pixels  # What follows would find nothing to do, a little later.
    height, width = pixels.shape[:2]
    if options.fit == "tile" and min(height, width) >= size:
        window = _centre(pixels, height - height % size, width - width % size)
        return in_channels(window, channels, background)
    if options.fit == "pad":
        longer = max(height, width)
        # The shorter side to the nearest whole number.
        inner_height, inner_width = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
        flattened = _flattened(pixels, channels, background)
        return _padded(_with_channels(_resized(flattened, inner_height, inner_width, options), channels), options)
    side = min(height, width)
    window = _flattened(_centre(pixels, side, side), channels, background)
    return _with_channels(_resized(window, size, size, options), channels)


def squares(fitted: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], ...]:
    """Cut what `fit` returns, or its grey values, into squares [size, size, …], row by row."""
    if fitted.shape[:2] == (size, size):
        return (fitted,)
    rows, columns = fitted.shape[0] // size, fitted.shape[1] // size
    cut = fitted.reshape(rows, size, columns, size, *fitted.shape[2:]).swapaxes(1, 2)
    return tuple(np.ascontiguousarray(cut).reshape(rows * columns, size, size, *fitted.shape[2:]))


def in_channels(pixels: NDArray[np.uint8], channels: int, background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """What `fit` makes of a picture but for its size: uint8 [H, W], [H, W, 3] or [H, W, 4] to [H, W, channels]."""
    return _with_channels(_flattened(pixels, channels, background), channels)


def _centre(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _flattened(pixels: NDArray[np.uint8], channels: int, background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """To grey for 1 channel, and to what has no alpha for 1 and 3; grey stays grey, as its channels are equal."""
    if channels == 4 or pixels.ndim == 2 or pixels.shape[2] == channels:
        return pixels
    image = Image.fromarray(pixels)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return np.asarray(image.convert(MODES[channels]))


def _resized(pixels: NDArray[np.uint8], height: int, width: int, options: DataOptions) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    # Pillow resizes RGBA premultiplied, so that hidden colours do not bleed into visible ones.
    return np.asarray(Image.fromarray(pixels).resize((width, height), _RESAMPLING[options.resizer]))


def _with_channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """[H, W], [H, W, 3] or [H, W, 4] to [H, W, channels], C-contiguous."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if channels == 4:
        if pixels.shape[2] != 4:
            opaque = np.full((*pixels.shape[:2], 4), 255, np.uint8)
            opaque[..., :3] = pixels
            return opaque
        return np.where(pixels[..., 3:] == 0, np.uint8(0), pixels)
    if pixels.shape[2] != channels:
        pixels = np.repeat(pixels, channels, axis=2)
    return np.ascontiguousarray(pixels)


def _padded(pixels: NDArray[np.uint8], options: DataOptions) -> NDArray[np.uint8]:
    size, channels = options.image_size, options.channels
    height, width = pixels.shape[:2]
    if height == width == size:
        return pixels
    canvas = np.zeros((size, size, channels), np.uint8)
    if channels == 1:
        canvas[...] = np.asarray(Image.new("RGB", (1, 1), options.background).convert("L"))
    elif channels == 3:
        canvas[...] = options.background
    top, left = (size - height) // 2, (size - width) // 2
    canvas[top : top + height, left : left + width] = pixels
    return canvas
