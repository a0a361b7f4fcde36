"""Image files of people are opened, or told of in one line, whatever is in them."""

import io

import numpy as np
import pytest
from PIL import Image

from ganlib.errors import UserError
from pipelines.opening import opened_image
from tests.ganlib.datasets.hostile_files import corpus


def test_every_hostile_file_is_read_or_told_of_in_a_line() -> None:
    told = []
    for hostile in corpus():
        try:
            with opened_image(
                io.BytesIO(hostile.content), name=hostile.name, most_pixels=10**7, limit="limit"
            ) as opened:
                np.asarray(opened.convert("RGB"))
        except UserError as error:
            told.append((hostile.name, str(error)))
    assert len(told) > 30
    for name, line in told:
        assert line.startswith(f"{name}: ")
        assert len(line.splitlines()) == 1


def test_a_large_image_is_refused_before_its_pixels_are_read() -> None:
    file = io.BytesIO()
    Image.new("L", (30, 20)).save(file, format="PNG")
    cut = io.BytesIO(file.getvalue()[:45])  # without the pixels
    line = r"x: 30 x 20 pixels are more than data\.limits\.max_pixels=599"
    with (
        pytest.raises(UserError, match=line),
        opened_image(cut, name="x", most_pixels=599, limit="data.limits.max_pixels"),
    ):
        pass
