"""What is read from folders and zips, what is refused, and how that is said."""

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ganlib.datasets.sources import Unreadable, is_labelled, natural_key, open_source
from ganlib.errors import UserError
from tests.ganlib.datasets.image_files import write_folder, write_zip

LIMIT = 10_000
FILES = {"9/a.png": b"nine", "10/b.jpg": b"ten", "10/deep/er/c.PNG": b"deeper"}


def read_all(source: Path) -> dict[str, tuple[str | None, bytes]]:
    with open_source(str(source), max_file_bytes=LIMIT) as opened:
        return {member.name: (member.label, member.read()) for member in opened}


def rejections(source: Path) -> dict[str, str]:
    with open_source(str(source), max_file_bytes=LIMIT) as opened:
        found = {item.name: item.reason for item in opened.rejected}
        for member in opened:
            try:
                member.read()
            except Unreadable as error:
                found[member.name] = str(error)
        return found


def test_folder_and_zip_give_the_same(tmp_path: Path) -> None:
    expected = {name: (name.split("/")[0], content) for name, content in FILES.items()}
    for source in (write_folder(tmp_path / "folder", FILES), write_zip(tmp_path / "images.zip", FILES)):
        assert read_all(source) == expected
        with open_source(str(source), max_file_bytes=LIMIT) as opened:
            assert opened.classes == ("9", "10")
            assert len(opened) == 3
            assert opened.rejected == ()


def test_flat_is_unlabelled(tmp_path: Path) -> None:
    assert read_all(write_folder(tmp_path / "f", {"b.png": b"b", "a.png": b"a"})) == {
        "a.png": (None, b"a"),
        "b.png": (None, b"b"),
    }


def test_one_look_tells_class_folders_from_flat_images(tmp_path: Path) -> None:
    junk = dict.fromkeys((".DS_Store", "__MACOSX/a.png", "README.md", ".git/b.png", "notes/read.txt"), b"?")
    labelled, flat = junk | FILES, junk | {"a.png": b"a"}
    for number, (files, expected) in enumerate(((labelled, True), (flat, False))):
        assert is_labelled(str(write_folder(tmp_path / f"folder{number}", files))) is expected
        assert is_labelled(str(write_zip(tmp_path / f"{number}.zip", files))) is expected
    write_folder(tmp_path / "none", {"README.md": b"?"})
    (tmp_path / "damaged.zip").write_bytes(b"no zip")
    for name, words in (("none", "no usable image"), ("damaged.zip", "not a zip"), ("absent", "no such folder")):
        with pytest.raises(UserError, match=words) as caught:
            is_labelled(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_leftovers_of_systems_are_skipped_and_other_files_named(tmp_path: Path) -> None:
    junk = dict.fromkeys((".DS_Store", "x/Thumbs.db", "__MACOSX/x/._a.png", ".git/a.png", "x/.hidden.png"), b"?")
    others = dict.fromkeys(("README.md", "x/labels.csv", "x/noextension"), b"?")
    files = {"x/a.png": b"a"} | junk | others
    for source in (write_folder(tmp_path / "folder", files), write_zip(tmp_path / "images.zip", files)):
        assert list(read_all(source)) == ["x/a.png"]
        assert rejections(source) == dict.fromkeys(others, "no image by its name")


def test_folder_refuses_what_leads_outside_and_what_is_no_file(tmp_path: Path) -> None:
    outside = write_folder(tmp_path / "outside", {"secret.png": b"secret"})
    root = write_folder(tmp_path / "folder", {"x/a.png": b"a"})
    (root / "x" / "inner.png").symlink_to("a.png")
    (root / "x" / "outer.png").symlink_to(outside / "secret.png")
    (root / "x" / "up.png").symlink_to("../../outside/secret.png")
    (root / "x" / "loop.png").symlink_to("loop.png")
    (root / "x" / "broken.png").symlink_to("nothing.png")
    (root / "y").symlink_to(outside)
    (root / "z").symlink_to(root / "x")
    os.mkfifo(root / "x" / "pipe.png")
    (root / "x" / "back\\slash.png").write_bytes(b"")
    (root / "x" / "new\nline.png").write_bytes(b"")
    (root / "x" / os.fsdecode(b"latin\xe9.png")).write_bytes(b"")
    assert sorted(read_all(root)) == ["x/a.png", "x/inner.png"]
    assert rejections(root) == {
        "x/outer.png": "a link that leads outside the folder",
        "x/up.png": "a link that leads outside the folder",
        "x/loop.png": "a link to something that is no file",
        "x/broken.png": "a link to something that is no file",
        "y": "a link that leads outside the folder",
        "z": "a link to something that is no file",
        "x/pipe.png": "not a regular file",
        "x/back\\slash.png": "a backslash in its path; expected /",
        "x/new\\nline.png": "a control character or invalid UTF-8 in its name",
        "x/latin\\udce9.png": "a control character or invalid UTF-8 in its name",
    }


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def test_zip_refuses_hostile_members(tmp_path: Path) -> None:
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/good.png", b"good")
        for name in ("../up.png", "x/../../up.png", "/etc/absolute.png", "C:/windows.png", "x\\back.png"):
            archive.writestr(name, b"bad")
        archive.writestr(special("x/link.png", stat.S_IFLNK | 0o777), b"/etc/passwd")
        archive.writestr(special("x/device.png", stat.S_IFCHR | 0o666), b"")
        archive.writestr("x/lzma.png", b"bad", zipfile.ZIP_LZMA)
        archive.writestr("x/bomb.png", bytes(10**7), zipfile.ZIP_DEFLATED)
        archive.writestr("x/flipped.png", b"intact")
        archive.writestr("x/encrypted.png", b"secret")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x/good.png", b"again")
    content = bytearray(path.read_bytes())
    content[content.index(b"intact")] ^= 1
    encrypted = content.rindex(b"x/encrypted.png") - 46  # its entry in the central directory
    content[encrypted + 8] |= 1
    path.write_bytes(content)
    assert read_all_readable(path) == {"x/good.png": b"good"}
    found = rejections(path)
    assert found.pop("x/flipped.png").startswith("damaged in the archive: Bad CRC-32")
    assert found == {
        "../up.png": "a path that leads outside",
        "x/../../up.png": "a path that leads outside",
        "/etc/absolute.png": "an absolute path",
        "C:/windows.png": "an absolute path",
        "x\\back.png": "a backslash in its path; expected /",
        "x/link.png": "a link",
        "x/device.png": "not a regular file",
        "x/lzma.png": "compression method 14, expected store or deflate",
        "x/bomb.png": f"more than {LIMIT} bytes",
        "x/encrypted.png": "encrypted",
        "x/good.png": "a second member of this name",
    }


def read_all_readable(source: Path) -> dict[str, bytes]:
    found = {}
    with open_source(str(source), max_file_bytes=LIMIT) as opened:
        for member in opened:
            try:
                found[member.name] = member.read()
            except Unreadable:
                continue
    return found


@pytest.mark.parametrize("declared", [0, 10, 2**32 - 2])
def test_declared_sizes_are_not_believed(tmp_path: Path, declared: int) -> None:
    path = write_zip(tmp_path / "lying.zip", {"x/a.png": b"a", "x/lying.png": bytes(5 * LIMIT)})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"x/lying.png") - 46
    struct.pack_into("<L", content, entry + 24, declared)
    path.write_bytes(content)
    assert set(rejections(path)) == {"x/lying.png"}


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "many.zip", FILES)
    monkeypatch.setattr("ganlib.datasets.sources.MAX_ZIP_MEMBERS", 2)
    with pytest.raises(UserError, match="3 members, more than 2"):
        read_all(path)


UNUSABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda t: t / "nowhere", "no such folder or file"),
    "empty folder": (lambda t: write_folder(t / "e", {".keep": b""}), "found nothing"),
    "empty zip": (lambda t: write_zip(t / "e.zip", {}), "found nothing"),
    "no images": (lambda t: write_folder(t / "n", {"a.txt": b"", "b.txt": b""}), "found 2 files, none of them"),
    "mixed": (lambda t: write_folder(t / "m", {"top.png": b"", "cat/in.png": b""}), "top.png.*cat/in.png"),
    "not a zip": (lambda t: write_folder(t, {"x.zip": b"hello"}) / "x.zip", "not a zip"),
    "half a zip": (lambda t: cut(write_zip(t / "h.zip", FILES)), "not a zip"),
    "a device": (lambda t: Path("/dev/null"), "neither a folder nor a regular file"),
    "a NUL": (lambda t: Path("a\0b"), "not a zip"),
    "too long": (lambda t: t / ("x" * 5000), "File name too long"),
}


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-30])
    return path


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_sources_are_one_line(tmp_path: Path, kind: str) -> None:
    make, fragment = UNUSABLE[kind]
    (tmp_path / "exists").mkdir()
    with pytest.raises(UserError, match=fragment) as caught:
        read_all(make(tmp_path))
    assert str(caught.value).startswith("data.source=")
    assert "\n" not in str(caught.value)


def test_no_permission(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "private", FILES)
    root.chmod(0)
    was = os.geteuid()
    nobody = 65534
    if was == 0:
        os.seteuid(nobody)
    try:
        with pytest.raises(UserError, match=r"data\.source=.*cannot be read \(Permission denied"):
            read_all(root)
    finally:
        os.seteuid(was)
        root.chmod(0o700)


def test_a_file_that_vanishes_is_the_surroundings_fault(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder", FILES)
    with open_source(str(root), max_file_bytes=LIMIT) as opened:
        member = next(iter(opened))
        (root / member.name).unlink()
        with pytest.raises(UserError, match=f"{member.name}: cannot be read"):
            member.read()


def test_natural_order() -> None:
    expected = ["", "01", "1", "2", "9", "10", "010a", "100", "9" * 5000, "a", "a2", "a10", "b1c2", "b1c11"]
    assert sorted(sorted(expected), key=natural_key) == expected
