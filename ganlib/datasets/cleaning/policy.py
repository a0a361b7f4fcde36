"""One image of a source: decoded, judged by the policies, repaired and fitted."""

import hashlib
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ganlib.config import MODES, Action, DataOptions, Policy, SideBySideOptions
from ganlib.datasets.cleaning.cleaned import Cleaned, Finding
from ganlib.datasets.cleaning.deadlines import Deadline, DeadlinePassed
from ganlib.datasets.cleaning.decoding import Picture, check_size, decode
from ganlib.datasets.cleaning.fitting import fit, squares
from ganlib.datasets.cleaning.hashing import difference_hash, grey_std, luma, picture_sha256
from ganlib.datasets.files.formats import contradicts, format_of
from ganlib.datasets.items import Item, Unreadable, printable
from ganlib.errors import UserError

# Below the largest value of 14 bits, a file of 16 is darker than its maker saw it.
_DARK_PEAK = 1 << 14


class _Dropped(Exception):
    """The policy of the last finding is to leave the image out."""


class _Findings:
    """What is unusual about one image, in the order in which it was found."""

    __slots__ = ("_by_kind", "_name", "_policy")

    def __init__(self, name: str, policy: Policy) -> None:
        self._name = name
        self._policy = policy
        self._by_kind: dict[str, Finding] = {}

    def __call__(self, kind: str, detail: str, *, fixable: bool = True) -> Action:
        """Note it, and return what is done: `keep` or `fix`.

        Raises:
            _Dropped: the image is left out.
            UserError: the policy is `fail`.
        """
        action = self._policy.action(kind)
        if action == "fail":
            others = [choice for choice in get_args(Policy.model_fields[kind].annotation) if choice != "fail"]
            raise UserError(
                f"data.cleaning.policy.{kind}=fail: {printable(self._name)}: {detail}; "
                f"mend or remove it, or set the policy to {' or '.join(others)}"
            )
        if action == "fix" and not fixable:
            action = "keep"
        self._by_kind.setdefault(kind, Finding(kind, action, detail))
        if action == "drop":
            raise _Dropped
        return action

    def partly(self, kind: str, detail: str) -> Action:
        """Note what is true of some of the tiles; where the policy is `drop`, these are left out: the image is mended.

        Raises:
            UserError: the policy is `fail`.
        """
        if self._policy.action(kind) == "drop":
            self._by_kind.setdefault(kind, Finding(kind, "fix", f"{detail} left out"))
            return "fix"
        return self(kind, detail)

    def listed(self) -> tuple[Finding, ...]:
        return tuple(self._by_kind.values())


def clean(item: Item, options: DataOptions, *, expendable: bool = False) -> Cleaned:
    """Decode an item under limits, apply the policies of `data.cleaning`, and fit it.

    The first finding whose policy is `drop` ends the work. Kinds that take more
    than one image to see, such as duplicates, are not judged here. In a main
    thread, no more than `data.limits.max_decode_s` is spent.

    Args:
        item: an encoded file, or pixels; those of a lossless file and the same
            ones as an array give the same hashes.
        options: all of `data`.
        expendable: whether this process may be ended by the system where
            compiled code does not return: a worker whose end is noticed.

    Raises:
        UserError: the policy of something found is `fail`.
    """
    found = _Findings(item.name, options.cleaning.policy)
    try:
        try:
            with Deadline(options.limits.max_decode_s, hard=expendable):
                return _cleaned(item, options, found)
        except Unreadable as error:
            found(error.kind, str(error))
        except DeadlinePassed:
            found("too_slow", f"takes longer than data.limits.max_decode_s={options.limits.max_decode_s}")
    except _Dropped:
        return Cleaned((), found.listed(), b"", b"", "", 0, 0, None)
    raise AssertionError("what is unreadable cannot be kept")


def _cleaned(item: Item, options: DataOptions, found: _Findings) -> Cleaned:
    if options.paired:
        return _cleaned_pair(item, options, found)
    content = item.content
    picture = _opened(content, item.name, options, found) if isinstance(content, bytes) else _given(content, options)
    pixels = picture.pixels
    _judge_picture(pixels, options, found)
    fitted = fit(pixels, options)
    grey = luma(fitted)
    return Cleaned(
        _judge_squares(fitted, grey, picture, options, found),
        found.listed(),
        picture_sha256(pixels),
        difference_hash(grey),
        picture.mode,
        picture.width,
        picture.height,
        picture.peak,
    )


def _cleaned_pair(item: Item, options: DataOptions, found: _Findings) -> Cleaned:
    """An image and, on its right, the one that a translator is given; what is wrong with one is wrong with both."""
    assert isinstance(item.content, bytes)
    picture = _opened(item.content, item.name, options, found)
    if item.given is not None:
        halves = [picture.pixels, _opened(item.given, item.name, options, found).pixels]
        _check_same_shape(*halves)
    else:
        halves = _halves(picture.pixels, options)
    fitted = []
    for pixels in halves:
        _judge_picture(pixels, options, found)
        fitted.append(fit(pixels, options))
    greys = [luma(each) for each in fitted]
    stds = [grey_std(grey) for grey in greys]
    if min(stds) < options.cleaning.min_std:
        found("near_constant", f"standard deviation {min(stds):.2f} of grey values in one of the pair")
    return Cleaned(
        (np.concatenate(fitted, axis=1),),
        found.listed(),
        hashlib.sha256(b"".join(map(picture_sha256, halves))).digest(),
        difference_hash(np.concatenate(greys, axis=1)),
        picture.mode,
        picture.width // 2 if item.given is None else picture.width,
        picture.height,
        picture.peak,
    )


def _halves(pixels: NDArray[np.uint8], options: DataOptions) -> list[NDArray[np.uint8]]:
    """What is wanted and what is given, of a picture that has both side by side."""
    assert isinstance(options.inputs, SideBySideOptions)
    width = pixels.shape[1]
    if width % 2:
        raise Unreadable("damaged", f"{width} pixels wide: an odd width holds no two images side by side")
    left, right = (np.ascontiguousarray(half) for half in np.split(pixels, 2, axis=1))
    return [right, left] if options.inputs.input == "left" else [left, right]


def _check_same_shape(wanted: NDArray[np.uint8], given: NDArray[np.uint8]) -> None:
    """The same crop is to show the same of both."""
    (height, width), (other_height, other_width) = wanted.shape[:2], given.shape[:2]
    if height * other_width != width * other_height:
        raise Unreadable(
            "damaged", f"{width} x {height} pixels, and its input {other_width} x {other_height}: not of one shape"
        )


def _judge_squares(
    fitted: NDArray[np.uint8], grey: NDArray[np.uint8], picture: Picture, options: DataOptions, found: _Findings
) -> tuple[NDArray[np.uint8], ...]:
    """The squares that are used: of a picture in tiles, blank ones are left out by themselves."""
    every = squares(fitted, options.image_size)
    stds = [grey_std(square) for square in squares(grey, options.image_size)]
    blank = [std < options.cleaning.min_std for std in stds]
    if all(blank):
        found("near_constant", f"standard deviation {max(stds):.2f} of grey values{_why_blank(picture, options)}")
    elif any(blank) and found.partly("near_constant", f"{sum(blank)} of {len(blank)} tiles") == "fix":
        return tuple(square for square, left_out in zip(every, blank, strict=True) if not left_out)
    return every


def _why_blank(picture: Picture, options: DataOptions) -> str:
    """What to do where the picture shows something and its square does not."""
    pixels = picture.pixels
    if picture.peak is not None and picture.peak < _DARK_PEAK:
        return f"; a file of 16 bits with no value above {picture.peak}: scale it to 65535"
    drawn = pixels.ndim == 3 and pixels.shape[2] == 4 and options.channels != 4
    if drawn and grey_std(np.ascontiguousarray(pixels[..., 3])) >= options.cleaning.min_std:
        background = list(options.background)
        return f" on data.background={background}, but its transparency has a shape: choose another background"
    return ""


def _opened(content: bytes, name: str, options: DataOptions, found: _Findings) -> Picture:
    if not content:
        raise Unreadable("empty", "0 bytes")
    limits = options.limits
    if len(content) > limits.max_file_bytes:
        reason = f"{len(content)} bytes are more than data.limits.max_file_bytes={limits.max_file_bytes}"
        raise Unreadable("too_large", reason)
    image_format = format_of(name, content)
    if contradicts(name, image_format):
        found("wrong_extension", f"it is {image_format}")
    return decode(content, image_format, limits, found)


def _given(pixels: NDArray[np.uint8], options: DataOptions) -> Picture:
    """What a source holds as an array already: [H, W] or [H, W, C]."""
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    height, width = pixels.shape[:2]
    if height == 0 or width == 0:
        raise Unreadable("empty", f"{width} x {height} pixels")
    check_size(width, height, options.limits)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    mode = MODES[1 if pixels.ndim == 2 else pixels.shape[2]]
    return Picture(np.ascontiguousarray(pixels), mode, width, height)


def _judge_picture(pixels: NDArray[np.uint8], options: DataOptions, found: _Findings) -> None:
    height, width = pixels.shape[:2]
    has_alpha = pixels.ndim == 3 and pixels.shape[2] == 4
    if has_alpha and options.channels != 4 and pixels[..., 3].min() < 255:
        found("alpha", "some of it is transparent")
    if options.channels != 1 and _is_grey(pixels):
        found("greyscale", "all of it is grey")
    if max(height, width) > options.cleaning.max_aspect * min(height, width):
        found("extreme_aspect", f"{width} x {height}")


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    if pixels.ndim == 2:
        return True
    red, green, blue = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, :3].tolist()
    if not red == green == blue:
        return False  # Most pictures end here, at one pixel.
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
