"""Whether image files are this generator's: what they say, what the log says, and what comes of making them again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from ganlib.config import load_config
from ganlib.errors import UserError
from ganlib.marking import Origin, pixels_sha256, read_origin
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.remaking import remake
from pipelines import paths
from pipelines.console import plain_console
from pipelines.opening import opened_image
from pipelines.provenance import credential
from pipelines.provenance.credential import Credential
from pipelines.provenance.made import Made, find
from pipelines.registry.history import one_line

Verdict = Literal["made by this generator", "in the log", "says so, and differs", "says so", "no sign"]
_MEANINGS: dict[Verdict, str] = {
    "made by this generator": "made again from what it says, every pixel is the same",
    "in the log": "made here: the log has its pixels",
    "says so, and differs": "its mark names this generator, which makes another image of it: changed or false",
    "says so": "its mark cannot be checked: another generator than that of --folder, or not drawn from a seed",
    "no sign": "neither a mark nor in the log; that does not show that it is real",
}


@dataclass(frozen=True)
class Finding:
    """What is known of a file.

    Attributes:
        file: of the image.
        verdict: the strongest thing that can be said.
        origin: what its mark says; None without one.
        made: its entry of the log; None where it is not there.
        credential: its C2PA credential; None without one, or without c2pa-python.
    """

    file: Path
    verdict: Verdict
    origin: Origin | None
    made: Made | None
    credential: Credential | None

    def as_json(self) -> dict[str, object]:
        """All of it for programs."""
        return {
            "file": str(self.file),
            "verdict": self.verdict,
            "mark": None
            if self.origin is None
            else {"generator_sha256": self.origin.generator_sha256, "request": dict(self.origin.request)},
            "credential": None if self.credential is None else asdict(self.credential),
            "log": None if self.made is None else self.made.model_dump(mode="json"),
        }


def verify_files(files: Sequence[Path], *, folder: Path) -> list[Finding]:
    """Look at each file.

    Args:
        files: in any format that Pillow reads.
        folder: of the generator that is asked whether it made them.

    Raises:
        UserError: a file cannot be read, there is no generator, or the log is damaged.
    """
    limit = load_config(paths.PARAMS).data.limits.max_pixels
    read = [_read(file, limit) for file in files]
    generator, digest = ImageGenerator.load(folder), generator_sha256(folder)
    known = find(pixels_sha256(pixels) for pixels, _ in read)
    return [
        Finding(file, _verdict(pixels, origin, made, generator, digest), origin, made, _credential(file))
        for file, (pixels, origin) in zip(files, read, strict=True)
        for made in [known.get(pixels_sha256(pixels))]
    ]


def show(findings: Sequence[Finding]) -> None:
    """Print a line a file, and what the verdicts mean."""
    table = Table("image", Column("verdict", no_wrap=True), "credential", "asked for")
    for each in findings:
        request = each.origin.request if each.origin else each.made.request if each.made else {}
        asked = (f"{key} {value}" for key, value in request.items() if value is not None)
        table.add_row(one_line(str(each.file)), each.verdict, _told(each.credential), one_line(", ".join(asked)))
    console = plain_console(100)
    console.print(table)
    for verdict in dict.fromkeys(each.verdict for each in findings):
        console.print(f"{verdict}: {_MEANINGS[verdict]}", highlight=False)


def _told(found: Credential | None) -> str:
    if found is None:
        return "none"
    if not found.intact:
        return "broken: the file was changed"
    return f"intact, by {one_line(found.issuer)}" + ("" if found.trusted else " (nobody vouches for it)")


def listing(findings: Sequence[Finding]) -> str:
    """As JSON."""
    return json.dumps([each.as_json() for each in findings], indent=2, sort_keys=True)


def _verdict(
    pixels: NDArray[np.uint8], origin: Origin | None, made: Made | None, generator: ImageGenerator, digest: str
) -> Verdict:
    if origin is not None and origin.generator_sha256 == digest and _is_remade(pixels, origin.request, generator):
        return "made by this generator"
    if made is not None:
        return "in the log"
    if origin is None:
        return "no sign"
    drawn = not {"translated", "latents"} & origin.request.keys()
    return "says so, and differs" if drawn and origin.generator_sha256 == digest else "says so"


def _is_remade(pixels: NDArray[np.uint8], request: Mapping[str, Any], generator: ImageGenerator) -> bool:
    try:
        return np.array_equal(remake(generator, request), pixels)
    except UserError:  # of what the mark says nothing can be made
        return False


def _credential(file: Path) -> Credential | None:
    if not credential.available() or file.suffix.lower() != ".png":
        return None
    return credential.read(file.read_bytes())


def _read(file: Path, most_pixels: int) -> tuple[NDArray[np.uint8], Origin | None]:
    """The pixels [H, W, C], and what the file says of itself."""
    with opened_image(file, name=str(file), most_pixels=most_pixels, limit="data.limits.max_pixels") as opened:
        origin = read_origin(opened)
        plain = opened if opened.mode in {"L", "RGB", "RGBA"} else opened.convert("RGBA")
        pixels = np.asarray(plain)
    return (pixels[:, :, None] if pixels.ndim == 2 else pixels), origin
