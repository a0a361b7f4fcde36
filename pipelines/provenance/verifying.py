"""Whether image files are this generator's: by what they say, by the log, by making them again, and by searching."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from ganlib.config import load_config
from ganlib.errors import UserError
from ganlib.marking import Origin, pixels_sha256, read_origin
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.remaking import Remade, compare
from pipelines import paths
from pipelines.console import plain_console
from pipelines.opening import opened_image
from pipelines.provenance import credential
from pipelines.provenance.credential import Credential
from pipelines.provenance.made import Made, find
from pipelines.provenance.recognising import Nearness, search_files
from pipelines.registry.history import one_line

Verdict = Literal[
    "made by this generator", "in the log", "very near", "recognised", "says so, and differs", "says so", "no sign"
]
_MEANINGS: dict[Verdict, str] = {
    "made by this generator": "made again from what it says, every pixel is the same",
    "in the log": "made here: the log has its pixels",
    "very near": "made here, and changed since: no other seed's image is as near to what its mark asks for",
    "recognised": "this generator comes nearer to it than to nearly all real images: evidence, no proof",
    "says so, and differs": "its mark names this generator, which makes another image of it: changed or false",
    "says so": "its mark cannot be checked: another generator than that of --folder, or not drawn from a seed",
    "no sign": "neither a mark nor in the log; that does not show that it is real",
}
# Of which a search may tell more.
_SEARCHED: tuple[Verdict, ...] = ("says so, and differs", "says so", "no sign")


@dataclass(frozen=True)
class Finding:
    """What is known of a file.

    Attributes:
        file: of the image.
        verdict: the strongest thing that can be said.
        origin: what its mark says; None without one.
        made: its entry of the log; None where it is not there.
        credential: its C2PA credential; None without one, or without c2pa-python.
        remade: it beside what its mark asks for; None where this generator cannot be asked.
        search: how near the generator comes to it, or why that is not known; None where all is known without it.
    """

    file: Path
    verdict: Verdict
    origin: Origin | None
    made: Made | None
    credential: Credential | None
    remade: Remade | None
    search: Nearness | str | None = None

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
            "remade": None if self.remade is None else asdict(self.remade),
            "search": asdict(self.search) if isinstance(self.search, Nearness) else self.search,
        }


def verify_files(
    files: Sequence[Path], *, folder: Path, false_positive_rate: float | None, notify: Callable[[str], None]
) -> list[Finding]:
    """Look at each file.

    Args:
        files: in any format that Pillow reads.
        folder: of the generator that is asked whether it made them.
        false_positive_rate: of the search for the images of which mark and log do not show that it made them; None: no
            search.
        notify: hears of the search's progress.

    Raises:
        UserError: a file cannot be read, there is no generator, the log is damaged, or the search cannot be made.
    """
    config = load_config(paths.PARAMS)
    read = [_read(file, config.data.limits.max_pixels) for file in files]
    generator, digest = ImageGenerator.load(folder), generator_sha256(folder)
    known = find(pixels_sha256(pixels) for pixels, _ in read)
    found = []
    for file, (pixels, origin) in zip(files, read, strict=True):
        made, remade = known.get(pixels_sha256(pixels)), _remade(pixels, origin, generator, digest)
        verdict = _verdict(origin, made, remade, digest)
        found.append(Finding(file, verdict, origin, made, _credential(file), remade))
    wanted = [each.file for each in found if each.verdict in _SEARCHED]
    if false_positive_rate is None or not wanted:
        return found
    searched = search_files(
        wanted, folder=folder, config=config, false_positive_rate=false_positive_rate, notify=notify
    )
    return [_with_search(each, searched[each.file]) if each.file in searched else each for each in found]


def show(findings: Sequence[Finding]) -> None:
    """Print a line a file, and what the verdicts mean."""
    nearness = Column("PSNR, dB", no_wrap=True)
    table = Table("image", Column("verdict", no_wrap=True), nearness, "credential", "asked for")
    for each in findings:
        request = each.origin.request if each.origin else each.made.request if each.made else {}
        asked = (f"{key} {value}" for key, value in request.items() if value is not None)
        cells = each.verdict, _measured(each), _told(each.credential), one_line(", ".join(asked))
        table.add_row(one_line(str(each.file)), *cells)
    console = plain_console(100)
    console.print(table)
    for verdict in dict.fromkeys(each.verdict for each in findings):
        console.print(f"{verdict}: {_MEANINGS[verdict]}", highlight=False)
    searches = [each.search for each in findings if each.search is not None]
    for found in dict.fromkeys(found for found in searches if isinstance(found, str)):
        console.print(f"not searched: {found}", highlight=False)
    if (measured := next((found for found in searches if isinstance(found, Nearness)), None)) is not None:
        console.print(
            f"searched: the nearest image that this generator can make; above {measured.threshold_db:.1f} dB are at "
            f"most {measured.false_positive_rate:.1%} of real images, as {measured.held_out} held-out ones tell",
            highlight=False,
        )


def _measured(found: Finding) -> str:
    """Of what the verdict rests on."""
    by = found.search if isinstance(found.search, Nearness) else found.remade
    return (
        "" if by is None or found.verdict == "made by this generator" else f"{by.psnr_db:.1f} of {by.threshold_db:.1f}"
    )


def _told(found: Credential | None) -> str:
    if found is None:
        return "none"
    if not found.intact:
        return "broken: the file was changed"
    return f"intact, by {one_line(found.issuer)}" + ("" if found.trusted else " (nobody vouches for it)")


def listing(findings: Sequence[Finding]) -> str:
    """As JSON."""
    return json.dumps([each.as_json() for each in findings], indent=2, sort_keys=True)


def _verdict(origin: Origin | None, made: Made | None, remade: Remade | None, digest: str) -> Verdict:
    if remade is not None and remade.exact:
        return "made by this generator"
    if made is not None:
        return "in the log"
    if origin is None:
        return "no sign"
    if remade is not None and remade.near:
        return "very near"
    drawn = not {"translated", "latents", "picture"} & origin.request.keys()
    return "says so, and differs" if drawn and origin.generator_sha256 == digest else "says so"


def _with_search(found: Finding, search: Nearness | str) -> Finding:
    recognised = isinstance(search, Nearness) and search.recognised
    return replace(found, search=search, verdict="recognised" if recognised else found.verdict)


def _remade(pixels: NDArray[np.uint8], origin: Origin | None, generator: ImageGenerator, digest: str) -> Remade | None:
    if origin is None or origin.generator_sha256 != digest:
        return None
    try:
        return compare(pixels, generator, origin.request)
    except UserError:  # of what the mark says nothing can be made
        return None


def _credential(file: Path) -> Credential | None:
    mime = credential.MIMES.get(file.suffix.lower())
    if not credential.available() or mime is None:
        return None
    return credential.read(file.read_bytes(), mime)


def _read(file: Path, most_pixels: int) -> tuple[NDArray[np.uint8], Origin | None]:
    """The pixels [H, W, C], and what the file says of itself."""
    with opened_image(file, name=str(file), most_pixels=most_pixels, limit="data.limits.max_pixels") as opened:
        origin = read_origin(opened)
        plain = opened if opened.mode in {"L", "RGB", "RGBA"} else opened.convert("RGBA")
        pixels = np.asarray(plain)
    return (pixels[:, :, None] if pixels.ndim == 2 else pixels), origin
