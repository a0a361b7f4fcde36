"""The first look at pictures: what it sees, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ganlib.errors import UserError
from pipelines.advice.look import check_enough, look
from tests.ganlib.datasets.image_files import data_options, encode, noise, noise_files, write_folder


def coloured(seed: int, side: int = 20) -> bytes:
    return encode(noise(seed, side, side, 3))


def icon(seed: int, level: int) -> bytes:
    """A disc of about one brightness on nothing."""
    image = Image.new("RGBA", (24, 24), (0, 0, 0, 0))
    shade = int(level + seed % 20)
    ImageDraw.Draw(image).ellipse((2, 2, 20, 18), fill=(shade, max(0, shade - 30), shade, 255))
    return encode(image)


def test_what_pictures_are_like(tmp_path: Path) -> None:
    seen = look(data_options(write_folder(tmp_path / "grey", noise_files(100))))
    assert (seen.usable, seen.grey, seen.transparent, seen.labelled, seen.pictures) == (100, 100, 0, True, 100)
    assert seen.side == 16
    check_enough(seen)

    files = {f"{n}.png": coloured(n, 20 + n % 3) for n in range(90)} | {f"{n}.txt": b"a caption" for n in range(90)}
    seen = look(data_options(write_folder(tmp_path / "colours", files)))
    assert (seen.usable, seen.grey, seen.others, seen.labelled, seen.pictures) == (90, 0, 90, False, 90)
    assert seen.side == 21
    check_enough(seen)

    for level, bright in ((20, 0), (230, 90)):
        seen = look(data_options(write_folder(tmp_path / f"{level}", {f"{n}.png": icon(n, level) for n in range(90)})))
        assert (seen.transparent, seen.bright, seen.grey) == (90, bright, 0)


def test_a_sample_of_many_comes_from_all_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.advice.look.MOST_PICTURES", 64)
    files = {f"{n // 120}/{n}.png": encode(np.full((4, 4 + n // 120), n % 256, np.uint8)) for n in range(1200)}
    seen = look(data_options(write_folder(tmp_path / "many", files)))
    assert 32 <= seen.usable <= 80
    assert seen.pictures == 1200
    again = look(data_options(tmp_path / "many"))
    assert seen == again


def test_pictures_at_the_top_and_in_folders_are_read_without_labels(tmp_path: Path) -> None:
    files = noise_files(100) | {"top.png": encode(noise(1000))}
    seen = look(data_options(write_folder(tmp_path / "both", files)))
    assert (seen.labels, seen.labelled, seen.usable) == ("none", False, 101)
    assert seen.trouble is not None
    assert "top.png" in seen.trouble or "labels are ambiguous" in seen.trouble or "at the top" in seen.trouble


def test_what_nothing_can_be_learnt_from_is_one_line(tmp_path: Path) -> None:
    few = look(data_options(write_folder(tmp_path / "few", noise_files(41))))
    with pytest.raises(UserError, match=r"few: found 41 usable pictures, expected 80 or more; .*thousands"):
        check_enough(few)
    broken = {f"{n}.png": b"no picture" for n in range(100)}
    bad = look(data_options(write_folder(tmp_path / "bad", noise_files(90) | broken)))
    with pytest.raises(UserError, match=r"of 190 files named like pictures .*, 100 cannot be used, 100 of them as "):
        check_enough(bad)
    other = {f"{n}.txt": b"text" for n in range(900)}
    mixed = look(data_options(write_folder(tmp_path / "mixed", noise_files(20) | other)))
    with pytest.raises(UserError, match=r"20 are pictures; give the folder that holds the pictures"):
        check_enough(mixed)
