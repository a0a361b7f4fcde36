"""What each policy does, what one file may cost, and how pictures are named."""

import hashlib
import pickle
import time
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ganlib.config import DataOptions, Policy
from ganlib.datasets.cleaning.cleaned import Cleaned
from ganlib.datasets.cleaning.hashing import difference_hash, luma
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.items import Item
from ganlib.errors import UserError
from tests.ganlib.datasets.hostile_files import CMYK, COLOUR, GIF, JPEG, P3, PNG
from tests.ganlib.datasets.image_bytes import exif, png
from tests.ganlib.datasets.image_files import data_options, encode, noise

FRAMES = [Image.fromarray(noise(seed)) for seed in (1, 17)]
# One file for each kind that is judged by looking at one file.
EXAMPLES: dict[str, tuple[str, bytes]] = {
    "not_an_image": ("a.png", b"no image"),
    "empty": ("a.png", b""),
    "damaged": ("a.png", PNG[:60] + bytes(10) + PNG[70:]),
    "truncated": ("a.png", PNG[:-100]),
    "too_large": ("a.png", png(COLOUR, size=(50_000, 50_000))),
    "wrong_extension": ("a.jpg", PNG),
    "animation": ("a.gif", encode(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])),
    "cmyk": ("a.jpg", CMYK),
    "palette": ("a.gif", GIF),
    "sixteen_bit": ("a.png", encode(np.arange(256, dtype=np.uint16).reshape(16, 16) * 256)),
    "alpha": ("a.png", encode(noise(2, 16, 16, 4))),
    "orientation": ("a.jpg", encode(COLOUR, "JPEG", exif=exif(6))),
    "colour_profile": ("a.jpg", encode(COLOUR, "JPEG", icc_profile=P3)),
    "greyscale": ("a.png", encode(noise(3))),
    "extreme_aspect": ("a.png", encode(noise(4, 8, 80, 3))),
    "near_constant": ("a.png", encode(np.full((16, 16, 3), 7, np.uint8))),
}


def options(**changes: Any) -> DataOptions:
    return data_options("unused", **{"channels": 3} | changes)


def cleaned(content: bytes | NDArray[np.uint8], how: DataOptions, name: str = "image") -> Cleaned:
    return clean(Item(name, name, None, None, content), how)


def findings(result: Cleaned) -> dict[str, str]:
    return {finding.kind: finding.action for finding in result.findings}


CHOICES = [
    (kind, action) for kind in EXAMPLES for action in get_args(Policy.model_fields[kind].annotation) if action != "fail"
]


@pytest.mark.parametrize(("kind", "action"), CHOICES)
def test_keep_fix_and_drop(kind: str, action: str) -> None:
    name, content = EXAMPLES[kind]
    result = cleaned(content, options(policy={kind: action}), name)
    assert findings(result)[kind] == action
    if action == "drop":
        assert result.findings[-1].kind == kind
        assert (result.pixels, result.sha256, result.difference_hash) == ((), b"", b"")
    elif "drop" not in findings(result).values():
        assert len(result.pixels) == 1


@pytest.mark.parametrize("kind", EXAMPLES)
def test_fail_names_the_file_and_what_to_do(kind: str) -> None:
    name, content = EXAMPLES[kind]
    with pytest.raises(UserError) as caught:
        cleaned(content, options(policy={kind: "fail"}), f"folder/\n{name}")
    message = str(caught.value)
    assert message.startswith(f"data.cleaning.policy.{kind}=fail: folder/\\n{name}: ")
    assert message.isprintable()
    assert "; mend or remove it, or set the policy to " in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_the_first_to_drop_ends_the_work() -> None:
    turned_and_grey = encode(noise(5), "JPEG", exif=exif(3))
    result = cleaned(turned_and_grey, options(policy={"orientation": "drop", "greyscale": "fail"}))
    assert findings(result) == {"orientation": "drop"}
    kept = cleaned(turned_and_grey, options())
    assert list(findings(kept).items()) == [("orientation", "fix"), ("greyscale", "keep")]


def test_nothing_is_found_in_ordinary_files() -> None:
    for content in (JPEG, PNG):
        assert cleaned(content, options()).findings == ()
    assert cleaned(encode(noise(6)), options(channels=1)).findings == ()
    assert cleaned(encode(noise(7, 16, 16, 4)), options(channels=4)).findings == ()


def test_a_profile_that_cannot_be_used_is_never_said_to_be_fixed() -> None:
    broken = encode(COLOUR, "JPEG", icc_profile=P3[:150])
    for action in ("keep", "fix"):
        result = cleaned(broken, options(policy={"colour_profile": action}))
        assert findings(result) == {"colour_profile": "keep"}
        assert result.sha256 == cleaned(encode(COLOUR, "JPEG"), options()).sha256
    assert findings(cleaned(broken, options(policy={"colour_profile": "drop"}))) == {"colour_profile": "drop"}


def test_limits() -> None:
    exactly = options(limits={"max_file_bytes": len(PNG), "max_pixels": COLOUR.shape[0] * COLOUR.shape[1]})
    assert cleaned(PNG, exactly).findings == ()
    for limits in ({"max_file_bytes": len(PNG) - 1}, {"max_pixels": COLOUR.shape[0] * COLOUR.shape[1] - 1}):
        assert findings(cleaned(PNG, options(limits=limits))) == {"too_large": "drop"}
    for image_format in ("BMP", "GIF", "JPEG", "PPM", "TIFF", "WEBP"):
        content = encode(Image.fromarray(noise(8, 400, 400, 3)), image_format)
        assert findings(cleaned(content, options(limits={"max_pixels": 159_999})))["too_large"] == "drop"
    assert findings(cleaned(noise(9, 400, 400), options(limits={"max_pixels": 159_999}))) == {"too_large": "drop"}
    assert findings(cleaned(np.zeros((0, 5), np.uint8), options())) == {"empty": "drop"}


def test_what_takes_too_long_is_left_out() -> None:
    # Pillow scales odd depths in Python, value by value.
    slow = b"P6 2000 2000 300\n" + bytes(2000 * 2000 * 6)
    started = time.monotonic()
    result = cleaned(slow, options(limits={"max_pixels": 10**7, "max_decode_s": 0.1}))
    assert time.monotonic() - started < 5
    assert findings(result) == {"sixteen_bit": "fix", "too_slow": "drop"}
    assert result.findings[-1].detail == "takes longer than data.limits.max_decode_s=0.1"
    with pytest.raises(UserError, match=r"^data\.cleaning\.policy\.too_slow=fail: "):
        cleaned(slow, options(limits={"max_pixels": 10**7, "max_decode_s": 0.1}, policy={"too_slow": "fail"}))


def test_near_constant_is_a_standard_deviation_of_grey() -> None:
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 4 + 100).astype(np.uint8)  # Of 100 and 104: 2.
    for least, expected in ((1.99, {}), (2.01, {"near_constant": "drop"})):
        assert findings(cleaned(board, options(channels=1, cleaning={"min_std": least}))) == expected


def test_aspect_is_longer_over_shorter() -> None:
    for shape in ((16, 64), (64, 16)):
        assert findings(cleaned(noise(10, *shape, 3), options())) == {}
    for shape in ((16, 65), (65, 16)):
        assert findings(cleaned(noise(10, *shape, 3), options())) == {"extreme_aspect": "keep"}


def test_tiles_come_from_one_picture() -> None:
    result = cleaned(noise(11, 40, 50, 3), options(fit="tile"))
    assert [tile.shape for tile in result.pixels] == [(16, 16, 3)] * 6
    assert len(result.difference_hash) == 32


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(shape=SHAPES, channels=st.sampled_from([1, 3, 4]), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_a_picture_has_the_same_name_in_every_lossless_file(shape: tuple[int, int], channels: int, seed: int) -> None:
    pixels = noise(seed, *shape) if channels == 1 else noise(seed, *shape, channels)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    expected = hashlib.sha256(f"{mode} {shape[1]} {shape[0]}\n".encode() + pixels.tobytes()).digest()
    how = options(channels=4, cleaning={"min_std": 0})
    contents: list[bytes | NDArray[np.uint8]] = [pixels, pixels.reshape(*shape, channels), np.asfortranarray(pixels)]
    contents += [encode(pixels, image_format) for image_format in ("PNG", "TIFF")]
    if channels != 4:
        contents += [encode(pixels, "PPM"), encode(pixels, "BMP")]
    if channels == 3:
        contents.append(encode(pixels, "WEBP", lossless=True))
    results = [cleaned(content, how) for content in contents]
    assert {result.sha256 for result in results} == {expected}
    assert len({(result.difference_hash, result.pixels[0].tobytes()) for result in results}) == 1
    assert {(result.mode, result.width, result.height) for result in results} == {(mode, shape[1], shape[0])}


def test_palettes_and_grey_alpha_are_named_by_what_they_show() -> None:
    how = options(channels=4, cleaning={"min_std": 0})
    palette = Image.fromarray(COLOUR).quantize(16)
    assert cleaned(encode(palette), how).sha256 == cleaned(np.asarray(palette.convert("RGB")), how).sha256
    grey_alpha = noise(12, 16, 16, 2)
    shown = np.concatenate([np.repeat(grey_alpha[..., :1], 3, axis=2), grey_alpha[..., 1:]], axis=2)
    assert cleaned(encode(grey_alpha), how).sha256 == cleaned(shown, how).sha256
    assert cleaned(encode(palette), how).mode == "P"
    turned = cleaned(encode(COLOUR[:, :9], exif=exif(6)), how)
    assert turned.sha256 == cleaned(np.ascontiguousarray(np.rot90(COLOUR[:, :9], k=-1)), how).sha256
    assert (turned.width, turned.height) == (9, 24)


def test_luma_in_whole_numbers() -> None:
    pixels = noise(13, 37, 41, 3)
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    expected = (9798 * red + 19235 * green + 3735 * blue + 16384) >> 15
    assert (luma(pixels) == expected).all()
    assert (luma(np.concatenate([pixels, noise(14, 37, 41, 1)], axis=2)) == expected).all()
    assert (luma(pixels[..., :1]) == pixels[..., 0]).all()


@pytest.mark.parametrize("shape", [(16, 16), (28, 28), (32, 32), (64, 64), (256, 256), (512, 768)])
def test_difference_hash_against_areas_summed_exactly(shape: tuple[int, int]) -> None:
    height, width = shape
    grey = noise(15, *shape)
    grey[:, : width // 3] = 9  # Neighbours of the same brightness are not brighter.
    fine = np.repeat(grey.astype(np.int64), 17, axis=1).reshape(height, 17, width).sum(axis=2)
    sums = np.repeat(fine, 16, axis=0).reshape(16, height, 17).sum(axis=1)
    assert difference_hash(grey) == np.packbits(sums[:, :-1] > sums[:, 1:]).tobytes()


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def test_pictures_that_look_alike_have_much_the_same_hash() -> None:
    coarse = noise(16, 12, 12, 3)
    scene = np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))
    how = options(image_size=64, cleaning={"min_std": 0})
    original = cleaned(scene, how).difference_hash
    again = cleaned(encode(scene, "JPEG", quality=85), how).difference_hash
    brighter = cleaned((scene * 0.8 + 30).astype(np.uint8), how).difference_hash
    other = cleaned(np.ascontiguousarray(scene[:, ::-1]), how).difference_hash
    assert distance(original, again) <= 10
    assert distance(original, brighter) <= 10
    assert distance(original, other) > 60


@pytest.mark.parametrize("kind", EXAMPLES)
def test_results_cross_processes(kind: str) -> None:
    name, content = EXAMPLES[kind]
    result = cleaned(content, options(), name)
    copy = pickle.loads(pickle.dumps(result))
    assert copy.findings == result.findings
    assert [tile.tolist() for tile in copy.pixels] == [tile.tolist() for tile in result.pixels]


@pytest.mark.parametrize(("action", "left", "told"), [("drop", 4, "fix"), ("keep", 6, "keep")])
def test_blank_tiles_are_judged_by_themselves(action: str, left: int, told: str) -> None:
    pixels = noise(5, 32, 48, 3)
    pixels[:16, :16] = pixels[16:, 32:] = 255
    result = cleaned(pixels, options(image_size=16, fit="tile", policy={"near_constant": action}))
    assert len(result.pixels) == left
    assert findings(result)["near_constant"] == told
    kept = np.stack(result.pixels)
    tiles = [pixels[top : top + 16, at : at + 16] for top in (0, 16) for at in (0, 16, 32)]
    expected = [tile for tile in tiles if action == "keep" or tile.std() > 0]
    assert np.array_equal(kept, np.stack(expected))


def test_a_picture_of_blank_tiles_alone_is_left_out() -> None:
    pixels = np.repeat(np.repeat(np.uint8([[0, 90, 255]]), 16, axis=0), 16, axis=1)
    assert cleaned(pixels, options(image_size=16, fit="tile")).pixels == ()
    mixed = np.hstack([noise(1, 16, 16), np.zeros((16, 16), np.uint8)])
    with pytest.raises(UserError, match=r"near_constant=fail: image: 1 of 2 tiles; mend"):
        cleaned(mixed, options(image_size=16, fit="tile", policy={"near_constant": "fail"}))


def test_black_ink_on_nothing_hints_at_the_background() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[4:9, 3:12, 3] = 255
    (finding,) = (found for found in cleaned(ink, options()).findings if found.kind == "near_constant")
    assert finding.detail.endswith(
        "on data.background=[0, 0, 0], but its transparency has a shape: choose another background"
    )
    assert "near_constant" not in findings(cleaned(ink, options(background=[255, 255, 255])))
    nothing = np.zeros((16, 16, 4), np.uint8)
    (finding,) = (found for found in cleaned(nothing, options()).findings if found.kind == "near_constant")
    assert "background" not in finding.detail
