"""What is said of a whole set, such as images that are enlarged; and how quickly it is decoded."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from ganlib.datasets.packing import survey as survey_module
from ganlib.datasets.packing.executor import Result, Task
from ganlib.datasets.packing.survey import survey
from ganlib.events import Event, Notice, Progress
from tests.ganlib.datasets.image_files import data_options, encode, noise, preprocess_options, write_folder


def notices(folder: Path, files: dict[str, bytes], **changes: Any) -> list[str]:
    heard: list[Event] = []
    options = data_options(write_folder(folder / "images", files), **changes)
    with survey(options, preprocess_options(), folder / "scratch", on_event=heard.append):
        pass
    return [event.text for event in heard if isinstance(event, Notice)]


def test_labels_in_a_table_that_is_not_read_are_told(tmp_path: Path) -> None:
    files = {f"{n}.png": encode(noise(n)) for n in range(12)}
    table = "file_name,label\n" + "".join(f"{n}.png,c{n % 2}\n" for n in range(12))
    files |= {"metadata.csv": table.encode(), "other.csv": b"a,b\n1,2\n", "info.json": b"[]"}
    (told,) = (text for text in notices(tmp_path, files) if "not read" in text)
    assert told == "metadata.csv is not read, and names labels of 12 images: set data.labels=metadata.csv to use them"
    assert not any("not read" in text for text in notices(tmp_path, files, labels="metadata.csv"))


def wide(seed: int, bits: int, *channels: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 1 << bits, (16, 16, *channels), dtype=np.uint16)
    pixels.flat[0] = (1 << bits) - 1
    return bytes(cv2.imencode(".png", pixels)[1]) if channels else encode(pixels)


@pytest.mark.parametrize(("bits", "channels"), [(10, ()), (12, ()), (12, (3,)), (14, (3,))])
def test_sensors_of_fewer_bits_in_files_of_sixteen(bits: int, channels: tuple[int, ...], tmp_path: Path) -> None:
    files = {f"{n}.png": wide(n, bits, *channels) for n in range(12)}
    told = [text for text in notices(tmp_path, files, channels=3) if "16 bits" in text]
    assert len(told) == 1
    assert told[0].startswith(f"12 files of 16 bits have no value above {(1 << bits) - 1}, as sensors of {bits} bits")
    assert f"multiply their values by {1 << (16 - bits)} and" in told[0]


def test_one_bright_file_says_that_the_others_are_dark_on_purpose(tmp_path: Path) -> None:
    files = {f"{n}.png": wide(n, 12) for n in range(11)} | {"bright.png": wide(99, 16)}
    assert not any("16 bits" in text for text in notices(tmp_path, files))


def test_many_enlarged_images_are_counted_and_a_size_that_fits_is_named(tmp_path: Path) -> None:
    files = {f"{n}.png": encode(noise(n, 16, 20 + n)) for n in range(12)} | {
        f"{n}.png": encode(noise(n, 40, 40)) for n in range(12, 20)
    }
    (told,) = (text for text in notices(tmp_path, files, image_size=32) if "and enlarged," in text)
    assert told.startswith(
        "12 of 20 images (60%) are smaller than data.image_size=32 and enlarged, the smallest 20 x 16"
    )
    assert told.endswith("consider data.image_size=16")
    padded = notices(tmp_path, files, image_size=16)
    assert not any("and enlarged," in text for text in padded)


def test_nothing_is_said_where_nothing_can_be_done(tmp_path: Path) -> None:
    files = {f"{n}.png": encode(noise(n, 8, 8)) for n in range(12)}
    assert not any("and enlarged," in text for text in notices(tmp_path, files, image_size=16))
    (told,) = (text for text in notices(tmp_path, files, image_size=64) if "and enlarged," in text)
    assert told.endswith("consider data.image_size=16")


def test_padding_is_named_where_the_longer_side_is_enough(tmp_path: Path) -> None:
    files = {f"{n}.png": encode(noise(n, 12, 64)) for n in range(12)}
    (told,) = (text for text in notices(tmp_path, files, image_size=64) if "and enlarged," in text)
    assert told.endswith("consider data.image_size=16 or data.fit=pad")


def test_the_time_that_processes_take_to_start_says_nothing_of_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute until the first part is decoded, then a second for each."""
    now_s = [0.0]

    class Slow:
        def map(self, function: Callable[[Task], Result], tasks: Iterable[Task], **_: Any) -> Iterator[Result]:
            for took_s, task in zip(itertools.chain([60.0], itertools.repeat(1.0)), tasks, strict=False):
                now_s[0] += took_s
                yield function(task)

    monkeypatch.setattr(survey_module, "open_executor", lambda _: nullcontext(Slow()))
    monkeypatch.setattr(survey_module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    heard: list[Event] = []
    options = data_options(write_folder(tmp_path / "images", {f"{n}.png": encode(noise(n)) for n in range(1000)}))
    with survey(options, preprocess_options(), tmp_path / "scratch", on_event=heard.append):
        pass
    told = [event for event in heard if isinstance(event, Progress)]
    parts = now_s[0] - 59
    assert len(told) == parts
    assert told[-2].images_per_s == pytest.approx(1000 / parts, rel=0.2)
