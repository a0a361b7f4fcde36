"""`gan data show`: contact sheets of the classes, and what the images are like."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ganlib.config import RunConfig, load_config
from ganlib.datasets.items import printable
from ganlib.datasets.packing.survey import Survey
from ganlib.errors import UserError
from pipelines import paths
from pipelines.console import plain_console
from pipelines.data.surveying import TABLE_WIDTH, surveyed
from pipelines.stages.shell import write_png

_PICTURES = 100
_COLUMNS = 10
_SHEET = re.compile(r"\d{3,}-[\w-]*\.png")
_MODES_SHOWN = 8


def show_data(project: Path, output: Path) -> None:
    """Write a contact sheet a class into a folder of their own, and print sizes, modes and channel statistics.

    Raises:
        UserError: as the preprocess stage, or the folder holds other files.
    """
    config = load_config(project / paths.PARAMS)
    _check_output(output)
    with surveyed(project, config.data, config.preprocess) as found:
        console = plain_console(TABLE_WIDTH)
        _print_tables(console, config, found)
        written = _write_sheets(found, output)
    console.print(f"{output}: {written} contact sheets of up to {_PICTURES} images")


def _check_output(output: Path) -> None:
    """See that all there is are contact sheets of an earlier run."""
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError(f"--output {output}: is a file; give a folder")
    other = next((path.name for path in sorted(output.iterdir()) if not _SHEET.fullmatch(path.name)), None)
    if other is not None:
        raise UserError(f"--output {output}: holds {printable(other)}, no contact sheet; give a folder of its own")


def _write_sheets(found: Survey, output: Path) -> int:
    # Imported here: torch takes seconds that a mistake does not need.
    from ganlib.sampling import image_grid

    if output.exists():
        shutil.rmtree(output)
    labels: Sequence[str | None] = found.classes or (None,)
    written = 0
    for number, label in enumerate(labels):
        pictures = found.pictures(label, _PICTURES)
        if len(pictures):
            grid = image_grid(pictures, columns=_COLUMNS, scale=max(1, 64 // pictures.shape[1]))
            write_png(output / _sheet_name(number, label), grid)
            written += 1
    return written


def _sheet_name(number: int, label: str | None) -> str:
    """Safe whatever a class is called: numbered, with what a file name can hold of its name."""
    text = "all" if label is None else re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")[:40]
    return f"{number:03d}-{text}.png"


def _print_tables(console: Console, config: RunConfig, found: Survey) -> None:
    console.print(_files(found))
    if any(found.images["train"].values()):
        console.print(_channels(config.data.channels, found))


def _files(found: Survey) -> Table:
    """What the files are like before anything is made of them."""
    sizes = found.sizes
    total = sum(count for _, _, count in sizes)
    ordered = sorted((width * height, width, height, count) for width, height, count in sizes)
    table = Table(show_header=False, title="Files as they are", title_justify="left")
    table.add_row("smallest", _size(ordered[0][1:3]))
    table.add_row("median", _size(_median(ordered, total)))
    table.add_row("largest", _size(ordered[-1][1:3]))
    table.add_row("most common", f"{_size(sizes[0])}: {sizes[0][2] / total:.0%} of {total}")
    table.add_row("different sizes", str(len(sizes)))
    modes = list(found.modes.items())
    more = f", {len(modes) - _MODES_SHOWN} more" if len(modes) > _MODES_SHOWN else ""
    shown = ", ".join(f"{mode} {count}" for mode, count in modes[:_MODES_SHOWN])
    table.add_row("modes", printable(shown) + more)
    table.add_row("classes", str(len(found.classes)) if found.classes else "none, unlabelled")
    for split, counts in found.images.items():
        per_class = f" ({min(counts.values())} to {max(counts.values())} a class)" if len(counts) > 1 else ""
        table.add_row(f"{split} images", f"{sum(counts.values())}{per_class}")
    return table


def _channels(channels: int, found: Survey) -> Table:
    """Statistics of the training images as they are packed."""
    table = Table("channel", title="Training images", title_justify="left")
    table.add_column("mean (0 to 255)", justify="right")
    table.add_column("std", justify="right")
    names = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}[channels]
    for name, mean, std in zip(names, found.pixel_mean, found.pixel_std, strict=True):
        table.add_row(name, f"{mean:.2f}", f"{std:.2f}")
    return table


def _median(ordered: Sequence[tuple[int, int, int, int]], total: int) -> tuple[int, int]:
    """Of sizes sorted by area, the one in the middle of all files."""
    seen = 0
    for _, width, height, count in ordered:
        seen += count
        if 2 * seen >= total:
            return width, height
    raise AssertionError("counts add up to the total")


def _size(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
