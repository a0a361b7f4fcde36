"""Every damaged, unusual or hostile file lands in the row expected."""

import numpy as np
import pytest
from PIL import Image, ImageFile

from ganlib.datasets.cleaning.cleaned import Cleaned
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.items import Item
from tests.ganlib.datasets.hostile_files import Hostile, corpus
from tests.ganlib.datasets.image_files import data_options

OPTIONS = data_options("unused", channels=3, image_size=16, limits={"max_pixels": 100_000_000})
FILES = list(corpus())


def cleaned(file: Hostile) -> Cleaned:
    return clean(Item(file.name, file.name, None, None, file.content), OPTIONS)


def test_there_are_enough_with_names_of_their_own() -> None:
    assert len(FILES) >= 60
    assert len({file.name for file in FILES}) == len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_lands_in_its_row(file: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    result = cleaned(file)
    assert tuple((finding.kind, finding.action) for finding in result.findings) == file.expected
    dropped = any(action == "drop" for _, action in file.expected)
    assert len(result.pixels) == (not dropped)
    for finding in result.findings:
        assert finding.detail
        assert finding.detail.isprintable()
        assert len(finding.detail) <= 160
        assert " at 0x" not in finding.detail
    again = cleaned(file)
    assert (again.findings, again.sha256, again.difference_hash) == (
        result.findings,
        result.sha256,
        result.difference_hash,
    )
    if not dropped:
        assert result.pixels[0].shape == (16, 16, 3)
        assert result.pixels[0].dtype == np.uint8
        assert (len(result.sha256), len(result.difference_hash)) == (32, 32)
        assert result.width * result.height > 0
    assert capfd.readouterr() == ("", "")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert Image.MAX_IMAGE_PIXELS is not None
