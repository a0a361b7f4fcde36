"""Images brought back to the latents of the project's generator, and the way between two of them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Column, Table

from ganlib.config import RunConfig, load_config
from ganlib.errors import UserError
from ganlib.inversion.latents import SavedLatents
from ganlib.inversion.projection import encoded, reconstruct
from ganlib.latents import spherical
from ganlib.marking import COMPOSITE_TYPE, Origin
from ganlib.metrics.extractors import Extractor
from ganlib.metrics.reconstruction import psnr, ssim
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic, load_encoder
from ganlib.sampling import Images, balanced_labels, image_grid, seeded_latents
from pipelines import paths
from pipelines.console import plain_console
from pipelines.image_files import ReadImage, read_images
from pipelines.provenance.writing import write_generated, write_generated_animation
from pipelines.registry.history import one_line
from pipelines.stages.extraction import prepare_evaluation
from pipelines.stages.looking import project_extractor
from pipelines.stages.shell import LARGEST_EXACT_PX

LATENTS_FILE = "latents.safetensors"
PICTURE_SIDE_PX = 64
# Samples whose mean distance of features is what distances are told as a share of: 2,016 pairs.
SAMPLES_APART = 64
STRIP_IMAGES, FRAMES_ONE_WAY = 10, 24


@dataclass(frozen=True)
class Reconstructed:
    """N images and what was found of them.

    Attributes:
        read: the images.
        saved: their latents and classes.
        made: what the generator makes of these on a CPU, as `gan sample` does: uint8 [N, H, W, C].
        generator: on the CPU.
        psnr_db, ssim: of each, [N].
        distances: of features, as shares of the mean distance between samples, [N].
        extractor: whose features.
    """

    read: tuple[ReadImage, ...]
    saved: SavedLatents
    made: Images
    generator: ImageGenerator
    psnr_db: NDArray[np.float64]
    ssim: NDArray[np.float64]
    distances: NDArray[np.float64]
    extractor: str

    def show(self) -> None:
        """Print a line an image."""
        right = [
            Column(title, justify="right")
            for title in ("class", "PSNR (dB)", "SSIM", f"{self.extractor} distance (% of that between samples)")
        ]
        table = Table("image", *right)
        for row, image in enumerate(self.read):
            figures = f"{self.psnr_db[row]:.1f}", f"{self.ssim[row]:.3f}", f"{100 * self.distances[row]:.1f}"
            table.add_row(one_line(image.name), self._class_of(row), *figures)
        plain_console(100).print(table)

    def write(self, folder: Path) -> None:
        """A PNG file an image (itself, its reconstruction, how far each value differs) and a file of all latents."""
        scale = max(1, PICTURE_SIDE_PX // self.generator.image.size)
        names: set[str] = set()
        for image, made in zip(self.read, self.made, strict=True):
            difference = np.abs(image.pixels.astype(np.int16) - made).astype(np.uint8)
            if difference.shape[2] == 4:
                difference[..., 3] = 255  # else it could not be seen
            triple = np.stack([image.pixels, made, difference])
            write_generated(
                folder / _free_name(image.file.stem, names),
                image_grid(triple, columns=3, scale=scale),
                self.origin("reconstruction"),
                by="gan reconstruct",
                source_type=COMPOSITE_TYPE,
            )
        self.saved.save(folder / LATENTS_FILE)

    def origin(self, picture: str) -> Origin:
        """Of a picture of what was made; it was not drawn from a seed."""
        assert self.saved.generator_sha256 is not None
        return Origin(self.saved.generator_sha256, {"picture": picture})

    def _class_of(self, row: int) -> str:
        labels = self.saved.labels
        return "" if labels is None else self.generator.image.classes[int(labels[row])]


def reconstruct_files(
    files: Sequence[Path], *, folder: Path, label: str | None, seed: int, fast: bool = False
) -> Reconstructed:
    """Find the latents of image files.

    Args:
        files: in any format that the data may have; what is not of the data's size and channels is converted.
        folder: of the generator.
        label: class of all images, by name or index; None: inferred.
        seed: of the samples at which searches start.
        fast: take what the generator's encoder says, without a search.

    Raises:
        UserError: a file cannot be used, the class is unknown, or something is missing.
    """
    config = load_config(paths.PARAMS)
    options, device = config.evaluate.reconstruction, prepare_evaluation(config.evaluate)
    generator = ImageGenerator.load(folder, str(device))
    generator.check_draws("reconstruct")
    _check_kin(generator, config, folder)
    encoder = load_encoder(folder, str(device))
    if fast and encoder is None:
        raise UserError(f"--fast: {folder} holds no encoder; set train.encoder and train again, or leave it out")
    index = None if label is None else _class_index(label, generator)
    read, troubles = read_images(files, config.data)
    if troubles:
        raise UserError("\n".join(troubles))
    for image in read:
        if image.converted is not None:
            _notify(f"{image.name}: {image.converted}")
    extractor = project_extractor(config.evaluate.extractor, config, device)
    originals = np.stack([image.pixels for image in read])
    found = reconstruct(
        generator,
        originals,
        encoded(options) if fast else options,
        seed=seed,
        labels=None if index is None else torch.full((len(read),), index),
        critic=load_critic(folder, str(device)) if options.feature_weight else None,
        encoder=encoder,
        notify=_notify,
    )
    saved = SavedLatents(found.latents, found.labels, generator_sha256(folder))
    painter = ImageGenerator.load(folder)
    made = saved.images(painter)
    return Reconstructed(
        read=tuple(read),
        saved=saved,
        made=made,
        generator=painter,
        psnr_db=psnr(originals, made),
        ssim=ssim(originals, made),
        distances=_distances(extractor, originals, made) / _samples_apart(extractor, painter, seed),
        extractor=extractor.name,
    )


def write_interpolation(found: Reconstructed, strip: Path) -> Path:
    """Write the way from the first to the second image, as a strip and, beside it, as an animation there and back.

    Along the arc between the latents, on which all are as typical as the ends: halfway on the straight line they would
    be too short. Where the classes differ, each has a row.

    Returns:
        The animation's file.
    """
    latents, labels = found.saved.latents, found.saved.labels
    classes = None if labels is None else labels[:1] if labels[0] == labels[1] else labels
    rows = 1 if classes is None else len(classes)

    def images(positions: torch.Tensor) -> Images:
        """[rows * positions, H, W, C], row by row."""
        count = len(positions)
        points = spherical(latents[:1].expand(count, -1), latents[1:].expand(count, -1), positions).repeat(rows, 1)
        asked = None if classes is None else classes.repeat_interleave(count)
        return SavedLatents(points, asked, None).images(found.generator)

    scale = max(1, PICTURE_SIDE_PX // found.generator.image.size)
    frames = images(torch.linspace(0, 1, FRAMES_ONE_WAY + 1))
    per_row = frames.reshape(rows, FRAMES_ONE_WAY + 1, *frames.shape[1:])
    there_and_back = [*range(FRAMES_ONE_WAY + 1), *range(FRAMES_ONE_WAY - 1, 0, -1)]
    animation = strip.with_suffix(".webp")
    origin = found.origin("interpolation")
    pixels = image_grid(images(torch.linspace(0, 1, STRIP_IMAGES)), columns=STRIP_IMAGES, scale=scale)
    write_generated(strip, pixels, origin, by="gan interpolate")
    write_generated_animation(
        animation,
        [image_grid(per_row[:, place], columns=rows, scale=scale) for place in there_and_back],
        origin,
        exact=found.generator.image.size <= LARGEST_EXACT_PX,
    )
    return animation


def _check_kin(generator: ImageGenerator, config: RunConfig, folder: Path) -> None:
    made, wanted = (generator.image.size, generator.image.channels), (config.data.image_size, config.data.channels)
    if made != wanted:
        raise UserError(
            f"{folder}: makes images of size {made[0]} and {made[1]} channels, found data.image_size={wanted[0]} and "
            f"data.channels={wanted[1]} in {paths.PARAMS}; run this in the generator's own project"
        )


def _class_index(label: str, generator: ImageGenerator) -> int:
    classes = generator.image.classes
    if not generator.conditional:
        raise UserError(f"--label {label}: this generator is unconditional; leave it out")
    if label in classes:
        return classes.index(label)
    if label.isascii() and label.isdigit() and int(label) < len(classes):
        return int(label)
    raise UserError(
        f"--label {label}: unknown, expected one of {', '.join(classes)}, or an index from 0 to {len(classes) - 1}"
    )


def _distances(extractor: Extractor, one: Images, other: Images) -> NDArray[np.float64]:
    apart = extractor.extract(one).values.double() - extractor.extract(other).values.double()
    return np.asarray(apart.norm(dim=1).numpy())


def _samples_apart(extractor: Extractor, generator: ImageGenerator, seed: int) -> float:
    labels = balanced_labels(SAMPLES_APART, generator.image.num_classes) if generator.conditional else None
    samples = SavedLatents(seeded_latents(SAMPLES_APART, generator.network.latent_dim, seed), labels, None)
    return float(torch.pdist(extractor.extract(samples.images(generator)).values.double()).mean())


def _free_name(stem: str, taken: set[str]) -> str:
    name, count = f"{stem}.png", 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}.png"
    taken.add(name)
    return name


def _notify(text: str) -> None:
    sys.stderr.write(f"{text}\n")
