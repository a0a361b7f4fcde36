"""Folders of this machine and behind URLs: what is read, what is refused, and how trouble is said."""

import hashlib
import os
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ganlib.datasets.files import Folder, RemoteFolder, SingleFile, folder, open_files
from ganlib.datasets.files.links import OUTSIDE
from ganlib.datasets.files.places import check_driver
from ganlib.datasets.items import FileEntry, Refusal
from ganlib.errors import UserError
from tests.ganlib.datasets.containers import names, read_files, refusals
from tests.ganlib.datasets.image_files import write_folder

LIMIT = 10_000
FILES = {"top.png": b"top", "9/a.png": b"nine", "10/b.jpg": b"ten", "10/deep/er/c.PNG": b"deeper", "10/a.png": b""}
ORDER = ["top.png", "10/a.png", "10/b.jpg", "10/deep/er/c.PNG", "9/a.png"]


@pytest.fixture
def memory() -> Iterator[str]:
    """The URL of an empty folder in memory."""
    system = fsspec.filesystem("memory")
    url = f"memory://{uuid.uuid4().hex}"
    system.mkdir(url)
    yield url
    system.rm(url, recursive=True)


def write_remote(url: str, files: dict[str, bytes]) -> str:
    system = fsspec.filesystem("memory")
    for name, content in files.items():
        system.pipe_file(f"{url}/{name}", content)
    return url


def opened(location: Path | str, most: int = 1000) -> Folder | RemoteFolder:
    files = open_files(str(location), most)
    assert isinstance(files, Folder | RemoteFolder)
    return files


def contents(files: Folder | RemoteFolder, limit_bytes: int = LIMIT) -> dict[str, bytes | str]:
    entries = [entry for entry in files.entries() if isinstance(entry, FileEntry)]
    read = zip(entries, files.contents(entries, limit_bytes), strict=True)
    return {entry.name: c.kind if isinstance(c, Refusal) else c for entry, c in read}


def test_all_folders_are_read_alike(tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_BATCH_FILES", 2)
    root = write_folder(tmp_path / "folder", FILES)
    for location in (root, f"file://{root}", write_remote(memory, FILES), f"{memory}/"):
        files = pickle.loads(pickle.dumps(opened(location)))
        assert names(files) == ORDER
        assert read_files(files) == FILES
        assert contents(files) == FILES
        assert contents(files, 4) == FILES | {"10/deep/er/c.PNG": "too_large"}
        with pytest.raises(FileNotFoundError):
            files.open("absent.png")
        with files.open("9/a.png") as file:
            file.seek(1)
            assert file.read() == b"ine"


def test_stamps_change_with_the_content(tmp_path: Path, memory: str) -> None:
    root = write_folder(tmp_path / "folder", FILES)
    for files, location in ((opened(root), root / "9/a.png"), (opened(write_remote(memory, FILES)), None)):
        before = {e.name: e.stamp for e in files.entries() if isinstance(e, FileEntry)}
        if location is None:
            write_remote(memory, {"9/a.png": b"NINE"})
        else:
            location.write_bytes(b"NINE")
            os.utime(location, ns=(1, 1))
        after = {e.name: e.stamp for e in files.entries() if isinstance(e, FileEntry)}
        assert {name for name in before if before[name] != after[name]} == {"9/a.png"}


def test_a_folder_refuses_what_leads_outside_and_what_is_no_file(tmp_path: Path) -> None:
    outside = write_folder(tmp_path / "outside", {"secret.png": b"secret"})
    root = write_folder(tmp_path / "folder", {"x/a.png": b"a", ".hidden/b.png": b"", "x/Thumbs.db": b""})
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
    files = opened(root)
    assert sorted(read_files(files)) == ["x/a.png", "x/inner.png"]
    assert {kind for _, kind, _ in refusals(files)} == {"unsafe_name"}
    assert {name: detail for name, _, detail in refusals(files)} == {
        "x/outer.png": OUTSIDE,
        "x/up.png": OUTSIDE,
        "x/loop.png": "a link to something that is no file",
        "x/broken.png": "a link to something that is no file",
        "y": OUTSIDE,
        "z": "a link to something that is no file",
        "x/pipe.png": "not a regular file",
        "x/back\\slash.png": "a backslash in its path; expected /",
        "x/new\\nline.png": "a control character or invalid UTF-8 in its name",
        "x/latin\\udce9.png": "a control character or invalid UTF-8 in its name",
    }


def addressed(store: Path, content: bytes, form: str) -> Path:
    """A file of a store that names its files by the checksums of their contents."""
    md5, sha256 = hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest()
    path = (
        store
        / {
            "dvc": f"files/md5/{md5[:2]}/{md5[2:]}",
            "hugging face": f"blobs/{sha256}",
            "git-annex": f"{md5[:3]}/SHA256E-s{len(content)}--{sha256}.png/SHA256E-s{len(content)}--{sha256}.png",
        }[form]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", ["dvc", "hugging face", "git-annex"])
def test_links_into_a_store_that_names_files_by_their_contents_are_followed(form: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder", {"x/plain.png": b"plain"})
    good, changed, table = (addressed(tmp_path / "store", content, form) for content in (b"good", b"old", b"a,b"))
    (root / "x" / "good.png").symlink_to(good)
    (root / "x" / "changed.png").symlink_to(os.path.relpath(changed, root / "x"))
    changed.write_bytes(b"other")
    (root / "table.csv").symlink_to(table)
    fake = good.with_name(good.name.replace("a", "b").replace("1", "2"))
    fake.mkdir()
    (root / "x" / "folder.png").symlink_to(fake)
    files = opened(root)
    assert names(files) == ["table.csv", "x/changed.png", "x/good.png", "x/plain.png"]
    assert refusals(files) == [("x/folder.png", "unsafe_name", "a link to something that is no file")]
    expected = {"table.csv": b"a,b", "x/changed.png": "unsafe_name", "x/good.png": b"good", "x/plain.png": b"plain"}
    assert contents(files) == expected
    with files.open("table.csv") as file:
        assert file.read() == b"a,b"
    with pytest.raises(UserError, match=r"x/changed\.png: a link that leads outside the folder; cp -rL"):
        files.open("x/changed.png")


def test_no_link_gives_a_file_away_whose_content_its_maker_does_not_know(tmp_path: Path) -> None:
    """A private file may well have a name of digits, such as those of caches of thumbnails."""
    private = write_folder(tmp_path / "home", {f"thumbnails/{'ab' * 16}.png": b"private", "labels.csv": b"private"})
    root = write_folder(tmp_path / "folder", {"a.png": b"a"})
    (root / "b.png").symlink_to(private / f"thumbnails/{'ab' * 16}.png")
    (root / "labels.csv").symlink_to(private / "labels.csv")
    files = opened(root)
    assert contents(files) == {"a.png": b"a", "b.png": "unsafe_name"}
    for name in ("b.png", "labels.csv"):
        with pytest.raises(UserError, match="a link that leads outside the folder"):
            files.open(name)


LEFT_BEHIND = [
    *("@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "x/@eaDir/SYNOINDEX_MEDIA_INFO", "#recycle/a.png", "x/.@__thumb/a.png"),
    *("__MACOSX/x/a.png", "x/._a.png", ".Spotlight-V100/a.png", ".AppleDouble/a.png", "x/.thumbnails/a.png"),
    *("$RECYCLE.BIN/a.png", "System Volume Information/a.png", "lost+found/a.png", "x/thumbs.db", "Desktop.ini"),
    *(".ipynb_checkpoints/a-checkpoint.png", ".git/a.png", ".dvc/a.png", ".picasaoriginals/a.jpg"),
    *("x/a.jpg.part", "a.png.crdownload", "a.jpg.ocTransferId12.part", "a.png.9f3ab01c.partial", "a.png~"),
    *("My Previews.lrdata/a.png", "x/.dropbox.cache/a.png", "x/.~lock.a.png#"),
]


def test_what_storage_leaves_behind_is_skipped(tmp_path: Path, memory: str) -> None:
    files = dict.fromkeys([*LEFT_BEHIND, "x/a.png", "x/eaDir/b.png", "thumbnails/c.png", "recycled/d.png"], b"?")
    for location in (write_folder(tmp_path / "folder", files), write_remote(memory, files)):
        assert names(opened(location)) == ["recycled/d.png", "thumbnails/c.png", "x/a.png", "x/eaDir/b.png"]
        assert not refusals(opened(location))


def test_a_url_refuses_unsafe_names(memory: str) -> None:
    files = opened(write_remote(memory, {"x/a.png": b"a", "x/new\nline.png": b"", "x\\y.png": b"", "x/.junk": b""}))
    assert names(files) == ["x/a.png"]
    assert [(name, kind) for name, kind, _ in refusals(files)] == [
        ("x\\y.png", "unsafe_name"),
        ("x/new\\nline.png", "unsafe_name"),
    ]


def test_folders_of_a_bucket_without_a_name_are_refused(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the driver of S3 lists `x//b.png` and the marker `x/`."""
    files = opened(write_remote(memory, {"x/a.png": b"a"}))
    system = type(fsspec.filesystem("memory"))
    really = system.ls

    def ls(self: Any, path: str, **how: Any) -> Any:
        found = really(self, path, **how)
        if path.endswith("/x"):
            found += [{"name": f"{path}/", "type": kind, "size": 0} for kind in ("directory", "file")]
        return found

    monkeypatch.setattr(system, "ls", ls)
    assert names(files) == ["x/a.png"]
    assert refusals(files) == [("x//", "unsafe_name", "a folder without a name; what is in it is not read")]


def test_more_files_than_allowed(tmp_path: Path, memory: str) -> None:
    for location in (write_folder(tmp_path / "folder", FILES), write_remote(memory, FILES)):
        with pytest.raises(UserError, match=r"more than data\.limits\.max_files=6 files; raise it or split the source"):
            names(opened(location, most=6))


def test_no_permission(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "private", FILES)
    files = opened(root)
    entries = [entry for entry in files.entries() if isinstance(entry, FileEntry)]
    was = os.geteuid()
    nobody = 65534
    for private in (root / "9/a.png", root / "10", root):
        mode, is_folder = private.stat().st_mode, private.is_dir()
        private.chmod(0)
        if was == 0:
            os.seteuid(nobody)
        try:
            with pytest.raises(UserError, match=r"^data\.source=.*cannot be read \(Permission denied.*permissions"):
                list(files.contents(entries, LIMIT))
            if is_folder:
                with pytest.raises(UserError, match=r"^data\.source=.*cannot be read \(Permission denied"):
                    names(opened(root))
        finally:
            os.seteuid(was)
            private.chmod(mode)


def test_a_file_that_vanishes_is_the_surroundings_fault(tmp_path: Path, memory: str) -> None:
    for location in (write_folder(tmp_path / "folder", FILES), write_remote(memory, FILES)):
        files = opened(location)
        entries = [entry for entry in files.entries() if isinstance(entry, FileEntry)]
        fsspec.core.url_to_fs(f"{location}/9/a.png")[0].rm(f"{location}/9/a.png")
        with pytest.raises(UserError, match=r"9/a\.png: cannot be read \(it is gone\)"):
            list(files.contents(entries, LIMIT))


class _DriverError(Exception):
    """As those of cloud drivers, of no family that is known here."""


def test_a_remote_that_breaks_in_the_middle(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = opened(write_remote(memory, FILES))
    entries = [entry for entry in files.entries() if isinstance(entry, FileEntry)]
    system = type(fsspec.filesystem("memory"))

    def broken(*_: Any, **__: Any) -> bytes:
        raise _DriverError("connection\nreset")

    monkeypatch.setattr(system, "cat_file", broken)
    monkeypatch.setattr(system, "ls", broken)
    for attempt in (lambda: list(files.contents(entries, LIMIT)), lambda: names(files)):
        with pytest.raises(
            UserError, match=r"cannot be read \(_DriverError: connection\\nreset\); check the"
        ) as caught:
            attempt()
        assert str(caught.value).startswith("data.source=memory://")


def test_drivers_that_are_not_there() -> None:
    for url, words in (
        ("gs://bucket/images", "the driver of gs:// is not installed; .*gcsfs"),
        ("nonsense://bucket", "Protocol not known: nonsense; expected a path, or a URL such as s3://"),
    ):
        with pytest.raises(UserError, match=words):
            check_driver(url)
        with pytest.raises(UserError, match=words):
            open_files(url, 10)
    check_driver("memory://anything")


def test_a_file_by_itself(tmp_path: Path, memory: str) -> None:
    (tmp_path / "a.bin").write_bytes(b"content")
    for location in (str(tmp_path / "a.bin"), f"{write_remote(memory, {'a.bin': b'content'})}/a.bin"):
        file = pickle.loads(pickle.dumps(open_files(location, 10)))
        assert isinstance(file, SingleFile)
        assert read_files(file) == {"a.bin": b"content"}
        with pytest.raises(FileNotFoundError):
            file.open("b.bin")


UNUSABLE = {
    "missing": ("nowhere", "no such folder or file"),
    "a device": ("/dev/null", "neither a folder nor a regular file"),
    "a NUL": ("a\0b", "embedded null byte"),
    "too long": ("x" * 5000, "File name too long"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_places_are_one_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location, fragment = UNUSABLE[kind]
    with pytest.raises(UserError, match=fragment) as caught:
        open_files(location, 10)
    assert str(caught.value).startswith("data.source=")
    assert str(caught.value).isprintable()
