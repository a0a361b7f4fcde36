"""What a location holds, by its first bytes."""

from ganlib.datasets.files.compression import Compression, compression_of, open_inflated
from ganlib.datasets.files.folder import Folder, RemoteFolder, SingleFile
from ganlib.datasets.files.places import find, is_url, open_place, wrong
from ganlib.datasets.files.tar import CompressedTar, Tar
from ganlib.datasets.files.tar_headers import BLOCK_BYTES, is_header
from ganlib.datasets.files.zip import Zip

AnyFiles = Folder | RemoteFolder | SingleFile | Zip | Tar | CompressedTar
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_NAMES = (".tar", ".tgz", ".tbz2", ".txz")


def open_files(location: str, max_files: int) -> AnyFiles:
    """Open a folder, a zip, a tar (compressed by gzip, bzip2, xz or zstandard) or, failing that, a file by itself.

    Args:
        location: a path, or a URL of a file system that fsspec knows.
        max_files: of how many files or members on one refuses to go on.

    Raises:
        UserError: it is not there or cannot be read, or is a damaged archive.
    """
    place = find(location)
    if place.is_folder:
        return RemoteFolder(location, max_files) if is_url(location) else Folder(location, max_files)
    with open_place(location) as file:
        head = file.read(BLOCK_BYTES)
    name = location.lower()
    if not name.endswith(".npz") and (head.startswith(_ZIP) or name.endswith(".zip")):
        return Zip(location, max_files, place.stamp)
    compression = compression_of(head)
    inside = head if compression is None else first_block(location, compression)
    named_so = name.endswith(_TAR_NAMES) or ".tar." in name
    if not is_header(inside) and not (named_so and not any(inside)):
        if named_so:
            raise wrong(location, "not a tar, or a damaged one (no header at byte 0); download or pack it again")
        return SingleFile(location)
    if compression is None:
        return Tar(location, max_files, place.stamp)
    return CompressedTar(location, max_files, place.stamp, compression)


def first_block(location: str, compression: Compression) -> bytes:
    """The first 512 bytes that a compressed file inflates to."""
    with open_inflated(location, compression) as file:
        return file.read(BLOCK_BYTES)
