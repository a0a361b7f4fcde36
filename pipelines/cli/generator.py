"""Draw from the generator, and judge what it draws."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganlib.errors import UserError
from pipelines import paths
from pipelines.exit_codes import USER_ERROR_EXIT_CODE, fail

if TYPE_CHECKING:
    from ganlib.packaging import ImageGenerator
    from ganlib.sampling import Images

app = typer.Typer()


Folder = Annotated[Path, typer.Option(help="Generator folder.")]
# What decides which latents are drawn; a file of latents leaves nothing to draw.
_DRAWN_BY = ("count", "label", "seed", "truncation")


@app.command()
def sample(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many images.")] = 100,
    label: Annotated[str | None, typer.Option(help="A class name; without it, classes take turns.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
    truncation: Annotated[
        float, typer.Option(help="Scales latents: above 0, at most 1; lower is more typical and less varied.")
    ] = 1.0,
    latents: Annotated[
        Path | None, typer.Option(help="File of latents, as `gan reconstruct` writes it, to show instead of new ones.")
    ] = None,
    folder: Folder = paths.GENERATOR,
) -> None:
    """Draw a grid of images from a trained generator."""
    _check_png("--output", output)
    if latents is not None:
        for name in _DRAWN_BY:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise UserError(f"--{name}: has no meaning beside --latents {latents}; leave one of them out")
    from ganlib.marking import Origin
    from ganlib.packaging import ImageGenerator, generator_sha256
    from ganlib.remaking import remake
    from ganlib.sampling import image_grid
    from pipelines.provenance.writing import write_generated

    generator = ImageGenerator.load(folder)
    generator.check_draws("sample")
    grid = {"columns": 10, "scale": max(1, 32 // generator.image.size)}
    if latents is not None:
        images = _of_latents(latents, generator, folder)
        request: dict[str, str | float | None] = {"latents": latents.name}
        count, pixels = len(images), image_grid(images, **grid)
    else:
        if label is not None and label not in generator.image.classes:
            raise UserError(f"--label {label}: unknown, expected one of {', '.join(generator.image.classes) or 'none'}")
        request = {"seed": seed, "label": label, "truncation": truncation, "count": count, **grid}
        pixels = remake(generator, request)
    write_generated(output, pixels, Origin(generator_sha256(folder), request), by="gan sample")
    typer.echo(f"{output}: {count} images")


@app.command()
def reconstruct(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files of any size.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    label: Annotated[
        str | None, typer.Option(help="Class of all images, by name or index; without it, classes are recognised.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same latents.")] = 0,
    fast: Annotated[bool, typer.Option("--fast", help="Ask the encoder only: quicker, less like the image.")] = False,
    folder: Folder = paths.GENERATOR,
) -> None:
    """Find the latents of images. It writes original, reconstruction and difference as PNG, and the latents."""
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: found a file, expected a folder or a name that is free")
    from pipelines.reconstructing import LATENTS_FILE, reconstruct_files

    found = reconstruct_files(images, folder=folder, label=label, seed=seed, fast=fast)
    found.write(output)
    found.show()
    typer.echo(f"{output}: {len(found.read)} pictures; show {output / LATENTS_FILE} again with `gan sample --latents`")


@app.command()
def interpolate(
    start: Annotated[Path, typer.Argument(metavar="A", help="Image file.")],
    end: Annotated[Path, typer.Argument(metavar="B", help="Image file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file of the strip; a WebP animation beside it.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same latents.")] = 0,
    folder: Folder = paths.GENERATOR,
) -> None:
    """Show the way between the reconstructions of two images."""
    _check_png("--output", output)
    from pipelines.reconstructing import reconstruct_files, write_interpolation

    found = reconstruct_files([start, end], folder=folder, label=None, seed=seed)
    if len(found.read) != 2:
        raise UserError(f"{start} and {end}: found {len(found.read)} squares (data.fit=tile), expected one an image")
    animation = write_interpolation(found, output)
    found.show()
    typer.echo(f"{output} and {animation}: from {start} to {end}")


@app.command()
def translate(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files of any size.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write PNG files into.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other translations.")] = 0,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="What to make, of a translator without pairs: `images`, `inputs`, or a class."
        ),
    ] = None,
    tile_px: Annotated[int, typer.Option(min=32, help="Side of what is made at a time; bounds memory.")] = 512,
    folder: Annotated[Path, typer.Option(help="Generator folder.")] = paths.GENERATOR,
) -> None:
    """Translate images with a trained translator. What they become is what `data.inputs` said in its training."""
    from pipelines.translating import translate_files

    for source, target in translate_files(images, output, folder=folder, seed=seed, to=to, tile_px=tile_px):
        typer.echo(f"{source} -> {target}")


class ExportFormat(StrEnum):
    """What `gan export` writes."""

    ONNX = "onnx"
    TORCH = "torch"


@app.command()
def export(
    model: Annotated[
        str | None,
        typer.Argument(metavar="models:/NAME@ALIAS", help="A registered model; without it, the generator of --folder."),
    ] = None,
    kind: Annotated[
        ExportFormat, typer.Option("--format", help="onnx: ONNX; torch: a program of torch.export.")
    ] = ExportFormat.ONNX,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; without it, generator.onnx or .pt2.")
    ] = None,
    folder: Folder = paths.GENERATOR,
) -> None:
    """Write a generator as one file that runs without ganlib. It checks that the file gives the same images."""
    from pipelines.exporting import export_generator

    target = output or Path("generator.onnx" if kind is ExportFormat.ONNX else "generator.pt2")
    typer.echo(export_generator(model, target, kind.value, folder=folder))


@app.command()
def verify(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    false_positives: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of real images that may be taken for the generator's own.")
    ] = 0.01,
    marks_only: Annotated[
        bool, typer.Option("--marks-only", help="Do not search for images without a mark: quicker, tells less.")
    ] = False,
    folder: Folder = paths.GENERATOR,
) -> None:
    """Tell whether this generator made images. It reads marks and the log, makes images again, and searches."""
    from pipelines.provenance.verifying import listing, show, verify_files

    rate = None if marks_only else false_positives
    findings = verify_files(images, folder=folder, false_positive_rate=rate, notify=_notify)
    if as_json:
        typer.echo(listing(findings))
    else:
        show(findings)


@app.command()
def judge(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files of any size.")],
    label: Annotated[
        str | None, typer.Option(help="Class that the critic is told; without it, the class that is recognised.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="PNG file to write: each image beside its nearest training images.")
    ] = None,
) -> None:
    """Tell how real images look to the critic and the features. It also tells how near they are to training images."""
    if picture is not None:
        _check_png("--picture", picture)
    from pipelines.judging import judge_files
    from pipelines.stages.shell import write_png

    session = judge_files(images, label=label)
    if as_json:
        typer.echo(session.as_json())
    else:
        session.show()
    if picture is not None:
        write_png(picture, session.picture())
    if session.troubles:
        raise typer.Exit(fail("\n".join(session.troubles), USER_ERROR_EXIT_CODE))


@app.command()
def quiz(
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes any free port.")] = 8765,
    count: Annotated[int, typer.Option(min=2, max=1000, help="Images per person; half of them are generated.")] = 50,
    exposure_ms: Annotated[
        int, typer.Option(min=0, max=60_000, help="Milliseconds for which each image is shown; 0: no limit.")
    ] = 500,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the choice of images; without it, a new one.")
    ] = None,
) -> None:
    """Ask people which images are real. They answer on a page on 127.0.0.1; how often they are wrong is logged."""
    from pipelines.quiz.serving import serve_quiz

    serve_quiz(port=port, count=count, exposure_ms=exposure_ms, seed=seed)


def _of_latents(file: Path, generator: "ImageGenerator", folder: Path) -> "Images":
    from ganlib.inversion.latents import SavedLatents
    from ganlib.packaging import generator_sha256

    saved = SavedLatents.load(file)
    saved.check(generator, file)
    if saved.generator_sha256 not in (None, generator_sha256(folder)):
        typer.echo(f"{file}: latents of another generator than the one in {folder}", err=True)
    return saved.images(generator)


def _notify(text: str) -> None:
    typer.echo(text, err=True)


def _check_png(option: str, path: Path) -> None:
    if path.suffix.lower() not in {"", ".png"}:
        raise UserError(f"{option} {path}: a PNG file is written; expected a name that ends in .png")
