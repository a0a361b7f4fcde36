"""What the stages found out, read once for the report and the model card."""

import base64
import csv
import importlib.metadata
import io
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel

from ganlib.config import RunConfig, read_record
from ganlib.datasets.packed.manifest import Manifest
from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation
from ganlib.marking import packet_of
from ganlib.packaging import Description, generator_sha256, read_description
from pipelines import paths
from pipelines.registry.versions import REQUIREMENTS
from pipelines.tracking.store import redact

PICTURES = (
    paths.REAL_AND_GENERATED,
    paths.SAMPLES,
    paths.TRAINING_SAMPLES,
    paths.NEAR_COPIES,
    paths.TRUNCATION,
    paths.INTERPOLATION,
    paths.ANIMATION,
)
CLOCK = "seen_images"
LARGEST_EXACT_BYTES = 500_000

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """A picture as a page can hold it; sides in pixels."""

    data_uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Facts:
    """All that is known of one generator before the gate has seen it.

    Attributes:
        config: what it was made with, as its own run recorded it.
        manifest: of the packed data.
        generator: its networks, images and provenance.
        generator_sha256: its content address.
        evaluation: its figures.
        curves, snapshots: columns of the training's logs -> (images shown, figure).
        classifier: accuracies of the classifier behind the domain features; empty where the data have no two classes.
        pictures: those that were made.
        lineage: digests and commit, as `lineage.origin` has them.
        versions: of Python and the packages that the generator needs.
    """

    config: RunConfig
    manifest: Manifest
    generator: Description
    generator_sha256: str
    evaluation: Evaluation
    curves: Mapping[str, Points]
    snapshots: Mapping[str, Points]
    classifier: Mapping[str, float]
    pictures: Mapping[Path, Picture]
    lineage: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def source(self) -> str:
        """Where the images are from, without user names and tokens."""
        return redact(self.config.data.source)


def gather(project: Path, config: RunConfig, lineage: Mapping[str, str]) -> Facts:
    """Read what the stages wrote below the project's folder; a picture that was not made is left out.

    Raises:
        UserError: a report or the generator is missing or damaged, a picture is damaged, or the figures are those
            of another generator.
    """
    generator, digest = read_description(project / paths.GENERATOR), generator_sha256(project / paths.GENERATOR)
    evaluation = Evaluation.read(project / paths.EVALUATION)
    if evaluation.generator_sha256 != digest:
        raise UserError(
            f"{paths.EVALUATION}: of generator {evaluation.generator_sha256[:16]}…, expected {digest[:16]}… as in "
            f"{paths.GENERATOR}; run the evaluate stage again"
        )
    return Facts(
        config=config,
        manifest=Manifest.read(project / paths.PROCESSED),
        generator=generator,
        generator_sha256=digest,
        evaluation=evaluation,
        curves=read_columns(project / paths.CURVES),
        snapshots=read_columns(project / paths.SNAPSHOTS),
        classifier=_accuracies(project / paths.EXTRACTOR_REPORT),
        pictures={path: read_picture(project / path) for path in PICTURES if (project / path).exists()},
        lineage=lineage,
        versions={"python": platform.python_version()} | {name: _version(name) for name in REQUIREMENTS},
    )


class _ExtractorReport(BaseModel):
    classifier: dict[str, float]


def _accuracies(path: Path) -> Mapping[str, float]:
    return read_record(_ExtractorReport, path, "extractor").classifier


def read_columns(path: Path) -> Mapping[str, Points]:
    """The columns of a training's log by name; cells that are empty or not finite are left out.

    Raises:
        UserError: missing or damaged.
    """
    mend = "run the train stage again"
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("ends within a row")
        names, *rows = csv.reader(io.StringIO(text), strict=True)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in names if name != CLOCK}
        for row in rows:
            cells = dict(zip(names, row, strict=True))
            for name, points in found.items():
                if cells[name] and math.isfinite(value := float(cells[name])):
                    points.append((float(cells[CLOCK]), value))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {mend}") from None
    except (ValueError, KeyError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}), expected rows of numbers with {CLOCK}; {mend}") from None
    return {name: tuple(points) for name, points in found.items()}


def read_picture(path: Path) -> Picture:
    """A PNG or WebP file as it is, or, where it is large and still, with a loss that the eye does not see.

    Raises:
        UserError: damaged.
    """
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "WEBP")) as opened:
            opened.load()
            width, height = opened.size
            kind = Image.MIME[str(opened.format)]
            if opened.format == "PNG" and len(content) > LARGEST_EXACT_BYTES:
                smaller = io.BytesIO()
                opened.save(smaller, "WEBP", quality=85, xmp=packet_of(opened))
                content, kind = smaller.getvalue(), Image.MIME["WEBP"]
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: damaged picture ({error}); run the evaluate stage again") from None
    return Picture(f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}", width, height)


def _version(name: str) -> str:
    return importlib.metadata.version(name).partition("+")[0]
