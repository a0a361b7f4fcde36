"""Zips are read as Python's own reader does, and hostile ones no further than is safe."""

import pickle
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.datasets.files import Zip, open_files
from ganlib.datasets.files.names import is_junk
from ganlib.datasets.items import FileEntry, Refusal
from ganlib.errors import UserError
from tests.ganlib.datasets.containers import names, read_files, refusals
from tests.ganlib.datasets.image_files import write_zip

MOST = 1000
LIMIT = 10_000
NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\.:"), min_size=1),
    min_size=1,
    max_size=4,
).map("/".join)
FILES = st.dictionaries(NAMES.filter(lambda name: not is_junk(name)), st.binary(max_size=3000), max_size=6)


def opened(path: Path) -> Zip:
    files = open_files(str(path), MOST)
    assert isinstance(files, Zip)
    return files


def contents(files: Zip) -> dict[str, bytes | tuple[str, str]]:
    """What is read of each member under the limit, or kind and reason of its refusal."""
    entries = [entry for entry in files.entries() if isinstance(entry, FileEntry)]
    read = zip(entries, files.contents(entries, LIMIT), strict=True)
    return {entry.name: (c.kind, c.detail) if isinstance(c, Refusal) else c for entry, c in read}


@settings(max_examples=60, deadline=None)
@given(files=FILES, method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), before=st.binary(max_size=50))
def test_reads_what_the_standard_library_writes(
    files: dict[str, bytes], method: int, before: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_zip(tmp_path_factory.mktemp("zip", numbered=True) / "a.zip", files, method)
    path.write_bytes(before + path.read_bytes())
    archive = opened(path)
    assert read_files(archive) == files
    assert contents(archive) == files
    for name, content in files.items():
        with archive.open(name) as file:
            file.seek(len(content) // 2)
            assert file.read() == content[len(content) // 2 :]


def test_large_archives_have_other_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    files = {f"{n}.png": bytes([n]) * 150 for n in range(9)}
    path = write_zip(tmp_path / "large.zip", files)
    assert b"PK\x06\x06" in path.read_bytes()
    assert read_files(opened(path)) == files


def test_old_names(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "old.zip", {"x.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"x.png", b"\x94.png"))
    assert names(opened(path)) == ["ö.png"]


def test_backslashes_of_windows_are_slashes_unless_they_are_half_a_letter(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip", {"train/cat/1.png": b"1", "train/cat/": b"", "a/é.png": b"2", "b/xx.png": b"3"}
    )
    content = path.read_bytes().replace(b"train/cat/", b"train\\cat\\").replace(b"a/\xc3", b"a\\\xc3")
    # U+30BD in Shift-JIS, as programs wrote it that did not say so.
    path.write_bytes(content.replace(b"b/xx.png", b"b/\x83\\.png"))
    assert read_files(opened(path)) == {"train/cat/1.png": b"1", "a/é.png": b"2"}
    assert refusals(opened(path)) == [("b/â\\.png", "unsafe_name", "a backslash in its path; expected /")]


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def directory_entry(content: bytes | bytearray, name: bytes) -> int:
    """Where the record of a member is in the directory."""
    return content.rindex(name) - 46


def test_hostile_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/good.png", b"good")
        for name in (
            "../up.png",
            "x/../../up.png",
            "/etc/absolute.png",
            "C:/windows.png",
            "x\\..\\..\\up.png",
            "C:\\x.png",
        ):
            archive.writestr(name, b"bad")
        archive.writestr(special("x/link.png", stat.S_IFLNK | 0o777), b"/etc/passwd")
        archive.writestr(special("x/device.png", stat.S_IFCHR | 0o666), b"")
        archive.writestr("x/lzma.png", b"bad", zipfile.ZIP_LZMA)
        archive.writestr("x/bomb.png", bytes(10**7), zipfile.ZIP_DEFLATED)
        archive.writestr("x/flipped.png", b"intact")
        archive.writestr("x/encrypted.png", b"secret")
        archive.writestr("folder/", b"")
        archive.writestr("__MACOSX/._x.png", b"junk")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x/good.png", b"again")
    content = bytearray(path.read_bytes())
    content[content.index(b"intact")] ^= 1
    content[directory_entry(content, b"x/encrypted.png") + 8] |= 1
    path.write_bytes(content)
    archive_files = opened(path)
    assert refusals(archive_files) == [
        ("../up.png", "unsafe_name", "a path that leads outside"),
        ("x/../../up.png", "unsafe_name", "a path that leads outside"),
        ("/etc/absolute.png", "unsafe_name", "an absolute path"),
        ("C:/windows.png", "unsafe_name", "an absolute path"),
        ("x/../../up.png", "unsafe_name", "a path that leads outside"),
        ("C:/x.png", "unsafe_name", "an absolute path"),
        ("x/link.png", "unsafe_name", "a link"),
        ("x/device.png", "unsafe_name", "not a regular file"),
        ("x/lzma.png", "damaged", "compression method 14, expected store or deflate"),
        ("x/encrypted.png", "damaged", "encrypted; expected no password"),
        ("x/good.png", "unsafe_name", "a second member of this name"),
    ]
    assert contents(archive_files) == {
        "x/good.png": b"good",
        "x/bomb.png": ("too_large", f"more than data.limits.max_file_bytes={LIMIT}"),
        "x/flipped.png": ("damaged", "damaged in the archive: Bad CRC-32 for file 'x/flipped.png'"),
    }


@pytest.mark.parametrize("declared", [0, 10, 2**32 - 2])
def test_declared_sizes_are_not_believed(tmp_path: Path, declared: int) -> None:
    path = write_zip(tmp_path / "lying.zip", {"x/a.png": b"a", "x/lying.png": bytes(5 * LIMIT)})
    content = bytearray(path.read_bytes())
    struct.pack_into("<L", content, directory_entry(content, b"x/lying.png") + 24, declared)
    path.write_bytes(content)
    found = contents(opened(path))
    assert found["x/a.png"] == b"a"
    assert found["x/lying.png"][0] in ("damaged", "too_large")


def test_members_that_share_bytes(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.png": bytes(10**6) for n in range(20)})
    content = bytearray(path.read_bytes())
    for n in range(20):  # Each claims what is packed of all.
        at = directory_entry(content, f"{n}.png".encode())
        struct.pack_into("<L", content, at + 20, 18_000)
    path.write_bytes(content)
    with pytest.raises(UserError, match="its members overlap, or are cut off"):
        names(opened(path))


def test_more_members_than_allowed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.png": b"" for n in range(MOST + 1)})
    told = r"more than data\.limits\.max_files=1000 files"
    with pytest.raises(UserError, match=told):
        names(opened(path))
    content = bytearray(path.read_bytes())
    for declared in (MOST, 65_000):  # A lie of the end record; one that is refused before anything is read.
        struct.pack_into("<HH", content, len(content) - 14, declared, declared)
        path.write_bytes(content)
        with pytest.raises(UserError, match=told):
            names(opened(path))


def test_damaged_directories(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "a.zip", {f"{n}.png": b"content" for n in range(5)}).read_bytes()
    path = tmp_path / "b.zip"
    start = whole.index(b"PK\x01\x02")
    damaged = [whole[:at] for at in range(0, len(whole), 41)]
    damaged += [whole[:at] + b"\xff" * 8 + whole[at + 8 :] for at in range(start, len(whole) - 8, 3)]
    for content in damaged:
        path.write_bytes(content)
        told = _told(path)
        assert told is None or (told.startswith("data.source=") and told.isprintable())
        assert told is not None or len(content) == len(whole)


def _told(path: Path) -> str | None:
    try:
        contents(opened(path))
    except UserError as error:
        return str(error)
    return None


def test_they_travel_between_processes(tmp_path: Path) -> None:
    archive = opened(write_zip(tmp_path / "a.zip", {"a.png": b"a"}))
    copy = pickle.loads(pickle.dumps(archive))
    entries = pickle.loads(pickle.dumps(list(archive.entries())))
    assert list(copy.contents(entries, LIMIT)) == [b"a"]


def test_a_zip_that_changes_while_it_is_read(tmp_path: Path) -> None:
    archive = opened(write_zip(tmp_path / "a.zip", {"a.png": b"a"}))
    entries = [entry for entry in archive.entries() if isinstance(entry, FileEntry)]
    write_zip(tmp_path / "a.zip", {"a.png": b"other"})
    with pytest.raises(UserError, match="changed while it was read; run again"):
        list(archive.contents(entries, LIMIT))
    with pytest.raises(FileNotFoundError):
        archive.open("absent.png")
