"""Image files through the project's translator."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ganlib.config import MODES, DataOptions, load_config
from ganlib.errors import UserError
from ganlib.marking import Origin
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.sampling import Images
from ganlib.translating import pixels_of, translate_image, way_to
from pipelines import paths
from pipelines.image_files import said
from pipelines.opening import opened_image
from pipelines.provenance.writing import write_generated


def translate_files(
    files: Sequence[Path], output: Path, *, folder: Path, seed: int, to: str | None, tile_px: int
) -> Iterator[tuple[Path, Path]]:
    """Translate image files into PNG files of the same names; gives each pair as soon as it is written.

    Args:
        files: of any size.
        output: folder to write into.
        folder: of the translator.
        seed: of the latents.
        to: the kind of images to make; None: what the translator is made for.
        tile_px: side of what is made at a time.

    Raises:
        UserError: the generator is no translator, a file cannot be used, or two would be written to one place; nothing
            is written then.
    """
    config, translator = load_config(paths.PARAMS), ImageGenerator.load(folder)
    if translator.inputs is None:
        raise UserError(f"{folder}: holds a generator that is given no images; train a translator (data.inputs)")
    way = way_to(translator, to)
    targets = _targets(files, output)
    origin = Origin(generator_sha256(folder), {"translated": True, "seed": seed, "way": way})
    for file in files:
        _read(file, config.data, translator.image.channels)  # all of them, before anything is written
    for file, target in zip(files, targets, strict=True):
        pixels, converted = _read(file, config.data, translator.image.channels)
        if converted is not None:
            sys.stderr.write(f"{file}: {converted}\n")
        made = translate_image(translator, pixels, seed=seed, to=to, tile_px=tile_px)
        write_generated(target, made, origin, by="gan translate")
        yield file, target


def _targets(files: Sequence[Path], output: Path) -> list[Path]:
    found = [output / f"{file.stem}.png" for file in files]
    for file, target in zip(files, found, strict=True):
        if found.count(target) > 1:
            raise UserError(f"{file}: another image would be written to {target} too; translate them into two folders")
        if target.resolve() == file.resolve():
            raise UserError(f"{file}: would be replaced by its translation; choose another folder with --output")
    return found


def _read(file: Path, options: DataOptions, channels: int) -> tuple[Images, str | None]:
    """As large as it is, with the channels of the translator; and what it was made of, where it had others.

    Raises:
        UserError: no such file, too large, or no image.
    """
    limit = options.limits.max_pixels
    with opened_image(file, name=str(file), most_pixels=limit, limit="data.limits.max_pixels") as opened:
        return pixels_of(opened, channels, options.background), _converted(opened, channels, options.background)


def _converted(opened: Image.Image, channels: int, background: tuple[int, int, int]) -> str | None:
    """What the image was and what it was made into; None where it has the channels of the translator."""
    transparent = channels != 4 and opened.has_transparency_data
    if opened.mode == MODES[channels] and not transparent:
        return None
    laid = f" on data.background={list(background)}" if transparent else ""
    return f"{said(opened.mode)}, converted to {said(MODES[channels])}{laid}"
