"""The official files of a named data set: found in a folder or downloaded, and verified."""

import http.client
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ganlib.datasets.items import printable
from ganlib.errors import UserError
from pipelines.data.named import DRIVE, NamedSet, Official

_NO_ANSWER_S = 30.0
# Straight in the folder, or as torchvision and the archives themselves lay them out.
_PLACES = ("", "*/", "*/*/")


def official_files(named: NamedSet, given: Path | None, downloads: Path) -> Mapping[str, Path]:
    """The files of one form of the set by name, checksums verified.

    Args:
        named: the set.
        given: where they are; None downloads them.
        downloads: a folder for downloads; what is there already is not fetched again.

    Raises:
        UserError: files are missing or are not the official ones, or cannot be downloaded.
    """
    forms = named.forms()
    if given is None:
        return {file.name: _downloaded(named, file, forms[0], downloads) for file in forms[0]}
    if not given.is_dir():
        raise UserError(f"--from {printable(str(given))}: no such folder; {_wanted(named, forms)}")
    for form in forms:
        found = {file.name: path for file in form if (path := _find(given, file.name)) is not None}
        if len(found) == len(form):
            for file in form:
                _verify(found[file.name], file)
            return found
    raise UserError(f"--from {printable(str(given))}: files are missing; {_wanted(named, forms)}")


def _wanted(named: NamedSet, forms: tuple[tuple[Official, ...], ...]) -> str:
    """Which files have to be there."""
    whole = ", ".join(file.name for file in forms[0])
    unpacked = " (or all that is in it)" if len(forms) > 1 else ""
    return f"{named.name} needs {whole}{unpacked} there"


def _find(folder: Path, name: str) -> Path | None:
    for place in _PLACES:
        found = next((path for path in sorted(folder.glob(f"{place}{name}")) if path.is_file()), None)
        if found is not None:
            return found
    return None


def _verify(path: Path, file: Official) -> None:
    from torchvision.datasets.utils import calculate_md5

    md5 = calculate_md5(path)
    if md5 != file.md5:
        raise UserError(
            f"{printable(str(path))}: not the official file: its MD5 is {md5}, expected {file.md5}; get it again"
        )


def _downloaded(named: NamedSet, file: Official, form: tuple[Official, ...], downloads: Path) -> Path:
    from torchvision.datasets.utils import download_file_from_google_drive, download_url

    reasons = []
    for address in file.addresses:
        try:
            with _bounded_waiting():
                if address.startswith(DRIVE):
                    download_file_from_google_drive(
                        address.removeprefix(DRIVE), str(downloads), filename=file.name, md5=file.md5
                    )
                else:
                    download_url(address, str(downloads), filename=file.name, md5=file.md5)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            reasons.append(" ".join(str(error).split()).rstrip("."))
        else:
            return downloads / file.name
    names = ", ".join(each.name for each in form)
    raise UserError(
        f"{file.name}: cannot be downloaded ({printable('; '.join(dict.fromkeys(reasons)))}); get {names} from "
        f"{_folder_of(file.addresses[0])}, put them into a folder, then gan data add {named.name} --from FOLDER"
    )


def _folder_of(address: str) -> str:
    return "Google Drive" if address.startswith(DRIVE) else address.rpartition("/")[0]


@contextmanager
def _bounded_waiting() -> Iterator[None]:
    """A server that stops talking is an error: torchvision itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NO_ANSWER_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def forget_downloads(downloads: Path) -> None:
    """Remove what was downloaded, once it is in place."""
    shutil.rmtree(downloads, ignore_errors=True)
