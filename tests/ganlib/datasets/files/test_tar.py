"""Tars are read as Python's own reader does, and hostile ones no further than is safe."""

import lzma
import pickle
import tarfile
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.datasets.files import CompressedTar, Tar, compression, open_files
from ganlib.datasets.files.names import is_junk
from ganlib.datasets.items import FileEntry
from ganlib.errors import UserError
from tests.ganlib.datasets.containers import COMPRESSORS, names, read_files, refusals, special_tar, tar_bytes, tar_of

MOST = 1000
NAMES = (
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\.:"), min_size=1
        ).map(lambda name: name[:60]),
        min_size=1,
        max_size=5,
    )
    .map("/".join)
    .filter(lambda name: not is_junk(name))
)
FILES = st.dictionaries(NAMES, st.binary(max_size=1500), min_size=1, max_size=6)


def opened(path: Path, content: bytes) -> Tar | CompressedTar:
    path.write_bytes(content)
    files = open_files(str(path), MOST)
    assert isinstance(files, Tar | CompressedTar)
    return files


@settings(max_examples=60, deadline=None)
@given(files=FILES, tar_format=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_reads_what_the_standard_library_writes(
    files: dict[str, bytes], tar_format: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tar", numbered=True)
    tar = opened(folder / "a.tar", tar_bytes(files, tar_format))
    assert isinstance(tar, Tar)
    assert read_files(tar) == files
    entries = [entry for entry in tar.entries() if isinstance(entry, FileEntry)]
    assert dict(zip(names(tar), tar.contents(entries, 10**6), strict=True)) == files
    for name, content in files.items():
        with tar.open(name) as file:
            file.seek(len(content) // 2)
            assert file.read() == content[len(content) // 2 :]


def test_old_tars_with_split_paths(tmp_path: Path) -> None:
    name = "/".join("abcdefghij" * 2 for _ in range(8)) + "/x.png"
    assert len(name) > 100
    assert names(opened(tmp_path / "a.tar", tar_bytes({name: b"x"}, tarfile.USTAR_FORMAT))) == [name]


@pytest.mark.parametrize("packing", [None, *COMPRESSORS])
def test_hostile_members_are_refused(packing: str | None, tmp_path: Path) -> None:
    members = [
        (special_tar("./x/good.png", size=4), b"good"),
        *((special_tar(name, size=3), b"bad") for name in ("../up.png", "x/../../up.png", "/etc/absolute.png")),
        (special_tar("C:/windows.png", size=3), b"bad"),
        (special_tar("x\\back.png"), b""),
        (special_tar("x/new\nline.png"), b""),
        (special_tar("x" * 5000 + ".png"), b""),
        (special_tar("x/link.png", tarfile.SYMTYPE, link="/etc/passwd"), b""),
        (special_tar("x/hard.png", tarfile.LNKTYPE, link="x/good.png"), b""),
        (special_tar("x/device.png", tarfile.CHRTYPE), b""),
        (special_tar("x/pipe.png", tarfile.FIFOTYPE), b""),
        (special_tar("x/good.png", size=5), b"again"),
        (special_tar("x/._junk.png", size=4), b"junk"),
        (special_tar("folder", tarfile.DIRTYPE), b""),
        (special_tar("x/last.png", size=4), b"last"),
    ]
    content = tar_of(members)
    tar = opened(tmp_path / "hostile.tar", content if packing is None else COMPRESSORS[packing](content))
    assert tar.sequential is (packing is not None)
    assert read_files(tar) == {"x/good.png": b"good", "x/last.png": b"last"}
    assert refusals(tar) == [
        ("../up.png", "unsafe_name", "a path that leads outside"),
        ("x/../../up.png", "unsafe_name", "a path that leads outside"),
        ("/etc/absolute.png", "unsafe_name", "an absolute path"),
        ("C:/windows.png", "unsafe_name", "an absolute path"),
        ("x\\back.png", "unsafe_name", "a backslash in its path; expected /"),
        ("x/new\\nline.png", "unsafe_name", "a control character or invalid UTF-8 in its name"),
        ("x" * 200 + "…", "unsafe_name", "a path of 5004 characters; expected at most 4096"),
        ("x/link.png", "unsafe_name", "a link"),
        ("x/hard.png", "unsafe_name", "a link"),
        ("x/device.png", "unsafe_name", "not a regular file"),
        ("x/pipe.png", "unsafe_name", "not a regular file"),
        ("x/good.png", "unsafe_name", "a second member of this name"),
    ]


def test_sparse_files_are_refused_however_they_are_marked(tmp_path: Path) -> None:
    old = bytearray(special_tar("old.png", size=512).tobuf(tarfile.GNU_FORMAT))
    old[156:157], old[482] = b"S", 1  # a map of its own follows
    old[148:156] = b"%06o\0 " % sum(bytes(old[:148]) + b" " * 8 + bytes(old[156:]))
    new = special_tar("new.png", size=4)
    new.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": str(10 * 2**30)}
    content = bytes(old) + bytes(1024) + tar_of([(new, b"data"), (special_tar("good.png", size=4), b"good")])
    tar = opened(tmp_path / "sparse.tar", content)
    assert [(name, kind) for name, kind, _ in refusals(tar)] == [("old.png", "damaged"), ("new.png", "damaged")]
    assert read_files(tar) == {"good.png": b"good"}


@pytest.mark.parametrize("packing", [None, *COMPRESSORS])
def test_whatever_is_cut_off_is_said_in_one_line(packing: str | None, tmp_path: Path) -> None:
    content = tar_bytes({f"{n}.png": bytes([n]) * 700 for n in range(3)})
    whole = content if packing is None else COMPRESSORS[packing](content)
    end = 3 * (512 + 1024) if packing is None else len(whole)
    for at in range(0, end, end // 7):
        with pytest.raises(UserError, match=r"^data\.source=.*(cut off|not a tar|damaged)") as caught:
            read_files(opened(tmp_path / "cut.tar.x", whole[:at]))
        assert "\n" not in str(caught.value)


def test_damaged_headers(tmp_path: Path) -> None:
    content = bytearray(tar_bytes({"a.png": b"a", "b.png": b"b"}))
    content[1024 + 3] ^= 1
    with pytest.raises(UserError, match="no header at byte 1024"):
        names(opened(tmp_path / "a.tar", bytes(content)))


def test_headers_that_ask_for_memory(tmp_path: Path) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE):
        info = special_tar("a.png", kind, size=10 * 2**30)
        with pytest.raises(UserError, match="a header of 10737418240 bytes at byte 512"):
            names(opened(tmp_path / "a.tar", info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


@pytest.mark.parametrize("packing", COMPRESSORS)
def test_ten_gigabytes_in_a_few_kilobytes(packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_FREE_BYTES", 1 << 20)
    header = special_tar("bomb.png", size=10 * 2**30).tobuf(tarfile.GNU_FORMAT)
    packed = COMPRESSORS[packing](header + bytes(40 << 20))
    assert len(packed) < 1 << 18
    started = time.monotonic()
    with pytest.raises(UserError, match="inflates to more than 250 times its size"):
        names(opened(tmp_path / "bomb.tar.x", packed))
    assert time.monotonic() - started < 5


def test_xz_that_asks_for_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 << 20}]
    packed = lzma.compress(tar_bytes({"a.png": b"a"}), filters=filters)
    with pytest.raises(UserError, match=r"damaged or cut off \(Memory usage limit"):
        opened(tmp_path / "a.tar.xz", packed)


@pytest.mark.parametrize("packing", COMPRESSORS)
def test_streams_one_after_another_are_one(packing: str, tmp_path: Path) -> None:
    content = tar_bytes({"a.png": b"a" * 5000, "b.png": b"b"})
    pack = COMPRESSORS[packing]
    tar = opened(tmp_path / "a.tar.x", pack(content[:3000]) + pack(content[3000:]))
    assert read_files(tar) == {"a.png": b"a" * 5000, "b.png": b"b"}


def test_more_members_than_allowed(tmp_path: Path) -> None:
    content = tar_bytes({f"{n}.png": b"" for n in range(MOST + 1)})
    for tar in (opened(tmp_path / "a.tar", content), opened(tmp_path / "a.tar.gz", COMPRESSORS["gz"](content))):
        with pytest.raises(UserError, match=r"more than data\.limits\.max_files=1000 files"):
            names(tar)


def test_a_tar_that_changes_while_it_is_read(tmp_path: Path) -> None:
    tar = opened(tmp_path / "a.tar", tar_bytes({"a.png": b"a"}))
    assert isinstance(tar, Tar)
    entries = [entry for entry in tar.entries() if isinstance(entry, FileEntry)]
    (tmp_path / "a.tar").write_bytes(tar_bytes({"b.png": b"b" * 20_000}))
    with pytest.raises(UserError, match="changed while it was read; run again"):
        list(tar.contents(entries, 10))


def test_they_travel_between_processes(tmp_path: Path) -> None:
    content = tar_bytes({"a.png": b"a"})
    for tar in (opened(tmp_path / "a.tar", content), opened(tmp_path / "a.tar.gz", COMPRESSORS["gz"](content))):
        copy = pickle.loads(pickle.dumps(tar))
        assert list(copy.entries()) == list(tar.entries())
        assert read_files(copy) == {"a.png": b"a"}


def test_memory_does_not_grow_with_the_members(tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    count = 20_000
    block = special_tar("0.png", size=10).tobuf(tarfile.USTAR_FORMAT)
    with path.open("wb") as file:
        for n in range(count):
            header = bytearray(block)
            header[:100] = (b"%06d.png" % n).ljust(100, b"\0")
            header[148:156] = b"%06o\0 " % sum(bytes(header[:148]) + b" " * 8 + bytes(header[156:]))
            file.write(bytes(header) + bytes(512))
        file.write(bytes(1024))
    tracemalloc.start()
    try:
        found = sum(isinstance(entry, FileEntry) for entry in open_files(str(path), 10**6).entries())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == count
    # The names, so that a second member of one is noticed, and nothing else.
    assert peak_bytes < 200 * count
