"""What a file is: by its name, and, as names are often wrong, by its first bytes."""

import re
from typing import Literal

from ganlib.datasets.files.names import suffix_of
from ganlib.datasets.items import Unreadable

# Only formats that Pillow decodes itself: no interpreter (EPS) and no exotic parser sees foreign bytes.
ImageFormat = Literal["BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"]
Sort = Literal["image", "archive", "companion"]

HEAD_BYTES = 512
_READ: dict[str, ImageFormat] = {
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    ".gif": "GIF",
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".webp": "WEBP",
}
# Of cameras. Most are TIFF files whose first image is a small preview.
_RAW = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".nef", ".nrw"),
        *(".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    )
)
_UNREAD = _RAW | frozenset(
    (
        *(".avif", ".avifs", ".heic", ".heics", ".heif", ".hif", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl"),
        *(".cur", ".dds", ".exr", ".hdr", ".icns", ".ico", ".psb", ".psd", ".svg", ".svgz", ".tga", ".xcf"),
    )
)
_ARCHIVES = frozenset((".7z", ".bz2", ".gz", ".rar", ".tar", ".tbz2", ".tgz", ".txz", ".xz", ".zip", ".zst"))
_VIDEOS = frozenset((".3gp", ".avi", ".flv", ".lrv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"))
# What lies beside images and is none, whatever is in it: captions, tables, notes, settings, weights, thumbnails.
_COMPANIONS = _VIDEOS | frozenset(
    (
        *(".aae", ".bib", ".caption", ".cfg", ".cls", ".conf", ".css", ".csv", ".db", ".doc", ".docx", ".geojson"),
        *(".h5", ".hdf5", ".htm", ".html", ".ini", ".ipynb", ".ithmb", ".js", ".json", ".jsonl", ".lnk", ".log"),
        *(".lst", ".m4a", ".mat", ".md", ".md5", ".mp3", ".names", ".npy", ".npz", ".parquet", ".pdf", ".pickle"),
        *(".pkl", ".pt", ".pth", ".py", ".rst", ".rtf", ".safetensors", ".sh", ".sha1", ".sha256", ".sqlite", ".srt"),
        *(".tags", ".tex", ".thm", ".toml", ".tsv", ".txt", ".url", ".vtt", ".wav", ".webloc", ".xls", ".xlsx"),
        *(".xml", ".xmp", ".yaml", ".yml"),
    )
)
# Of programs that keep folders in step; the file itself is beside it.
_CONFLICT = re.compile(r"conflicted copy|\.sync-conflict-\d{8}-\d{6}|\.conflict\d+(\.\w+)?$", re.IGNORECASE)

_BMP_HEADER_BYTES = frozenset((12, 16, 40, 52, 56, 64, 108, 124))
_PPM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+\d")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNREAD_HEADS = (
    (re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL), "AVIF", "avif"),
    (re.compile(rb"....ftyp(?:hei|hev|mif|msf)", re.DOTALL), "HEIC", "heic"),
    (
        re.compile(rb"....ftypcrx |....HEAPCCDR|FUJIFILMCCD-RAW|II(?:RO|RS|U\0)", re.DOTALL),
        "a camera's raw data",
        "raw",
    ),
    (re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"), "JPEG XL", "jxl"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000", "jp2"),
    (re.compile(rb"8BPS"), "a Photoshop document", "psd"),
    (re.compile(rb"\x76\x2f\x31\x01"), "OpenEXR", "exr"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*(?=<[?!s]).*<svg", re.DOTALL | re.IGNORECASE), "SVG", "svg"),
)
_OTHER_HEADS = (
    (re.compile(rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", re.DOTALL), "a video"),
    (re.compile(rb"%PDF"), "a PDF document"),
    (re.compile(rb"%!PS"), "a PostScript document"),
    (re.compile(rb"PK\x03\x04"), "a zip archive"),
    (re.compile(rb"\x1f\x8b"), "a gzip archive"),
    (re.compile(rb"\s*<(?:!doctype html|html)", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--)", re.IGNORECASE), "XML"),
)


def is_image_name(name: str) -> bool:
    """Whether a path ends as files of the formats do that are read."""
    return suffix_of(name) in _READ


def sort_by_name(name: str) -> Sort | None:
    """What the name of a file among images says, formats that are not read included; None where it says nothing."""
    suffix = suffix_of(name)
    if suffix in _READ or suffix in _UNREAD:
        return "companion" if _CONFLICT.search(name) else "image"
    if suffix in _ARCHIVES:
        return "archive"
    return "companion" if suffix in _COMPANIONS else None


def is_image_head(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` of a file are those of an image, of a format that is read or of another."""
    return _read_format(head) is not None or _unread(head) is not None


def companion_detail(name: str) -> str:
    """Why a companion of images is not read, for people."""
    suffix = suffix_of(name)
    if suffix in _VIDEOS:
        return f"a video; for images of it: ffmpeg -i IN{suffix} -vf fps=1 OUT-%05d.png"
    if suffix == ".pdf":
        return "a PDF document; for images of it: pdftoppm -png IN.pdf OUT"
    if _CONFLICT.search(name):
        return "a second version of a file, by a program that keeps folders in step"
    return f"{suffix} beside images" if suffix in _COMPANIONS else "no image by its name or its first bytes"


def format_of(name: str, content: bytes) -> ImageFormat:
    """The format by the first bytes.

    Raises:
        Unreadable: `not_an_image`, with what it looks like and how to convert it.
    """
    head = content[:HEAD_BYTES]
    found = _read_format(head)
    suffix = suffix_of(name)
    if found is not None and not (found == "TIFF" and suffix in _RAW):
        return found
    unread = _unread(head)
    if unread is None and suffix in _UNREAD:
        unread = ("a camera's raw data" if suffix in _RAW else f"a file called {suffix}", suffix[1:])
    if unread is not None:
        what, ending = unread
        raise Unreadable(
            "not_an_image", f"{what}, which is not read; convert it: magick mogrify -format png '*.{ending}'"
        )
    what = next((what for pattern, what in _OTHER_HEADS if pattern.match(head)), "no known format")
    raise Unreadable("not_an_image", what)


def contradicts(name: str, image_format: ImageFormat) -> bool:
    """Whether a name has a suffix that says another format; one that says nothing does not contradict."""
    suffix = suffix_of(name)
    return _READ.get(suffix, image_format) != image_format or suffix in _UNREAD or suffix == ".pdf"


def _read_format(head: bytes) -> ImageFormat | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(_TIFF):
        return "TIFF"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    return "PPM" if _PPM.match(head) else None


def _unread(head: bytes) -> tuple[str, str] | None:
    """What an image of a format that is not read is, and how its files end."""
    return next(((what, ending) for pattern, what, ending in _UNREAD_HEADS if pattern.match(head)), None)
