"""A folder is replaced whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ganlib.replacing import replacing
from tests.ganlib.datasets.image_files import contents


def fill(destination: Path, text: str) -> None:
    with replacing(destination) as folder:
        (folder / "file").write_text(text)


def test_new_then_replaced(tmp_path: Path) -> None:
    destination = tmp_path / "deep" / "out"
    for text in ("first", "second"):
        fill(destination, text)
        assert contents(tmp_path) == {"deep/out/file": text.encode()}


@pytest.mark.parametrize(("count", "waits"), [(3, 5), (300, 1)])
def test_the_disk_has_all_of_it_before_it_takes_its_place(
    count: int, waits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[bool] = []

    def heard(wait: Callable[..., None]) -> Callable[..., None]:
        def hear(*arguments: int) -> None:
            waited.append((tmp_path / "out").exists())
            wait(*arguments)

        return hear

    for name in ("fsync", "sync"):
        monkeypatch.setattr(os, name, heard(getattr(os, name)))
    with replacing(tmp_path / "out") as folder:
        (folder / "below").mkdir()
        for number in range(count):
            (folder / "below" / f"{number}").write_text("x")
    assert waited == [False] * waits + [True]


def test_failure_leaves_the_previous(tmp_path: Path) -> None:
    fill(tmp_path / "out", "first")

    def fail_half_way() -> None:
        with replacing(tmp_path / "out") as folder:
            (folder / "half").write_text("written")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert contents(tmp_path) == {"out/file": b"first"}


def test_failing_rename_brings_the_previous_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "out", "first")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == ".out.partial":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no"):
        fill(tmp_path / "out", "second")
    assert contents(tmp_path) == {"out/file": b"first"}


def test_crash_between_the_renames_is_mended(tmp_path: Path) -> None:
    fill(tmp_path / "out", "first")
    (tmp_path / "out").rename(tmp_path / ".out.previous.partial")
    (tmp_path / ".out.partial").mkdir()
    with pytest.raises(OSError, match="again"), replacing(tmp_path / "out"):
        raise OSError("again")
    assert contents(tmp_path) == {"out/file": b"first"}


def test_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "big_disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "big_disk")
    fill(tmp_path / "out", "text")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "big_disk" / "file").read_text() == "text"
