"""How real one image is: to the critic, to the features, and beside the training images."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from ganlib.config import ImageSpec, load_config
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.errors import UserError
from ganlib.evaluation.drawing import draw
from ganlib.judging import Judge, Judgement
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic
from ganlib.sampling import Images, beside, image_grid
from pipelines import paths
from pipelines.console import plain_console
from pipelines.image_files import read_images
from pipelines.registry.history import one_line
from pipelines.stages.extraction import prepare_evaluation, project_reference

PICTURE_SIDE_PX = 64


@dataclass(frozen=True)
class Judged:
    """One image, uint8 [H, W, C] as it was brought to size, and what was found of it."""

    name: str
    pixels: NDArray[np.uint8]
    judgement: Judgement


@dataclass(frozen=True)
class Session:
    """What came of some files.

    Attributes:
        judged: images in the order given; where `data.fit` is `tile`, all squares of a file.
        troubles: a line for each file that cannot be used.
        extractor: whose features were looked at.
        compared: held-out images, and as many generated ones, that the percentages are of.
    """

    judged: tuple[Judged, ...]
    troubles: tuple[str, ...]
    extractor: str
    compared: int
    _data: PackedData

    def as_json(self) -> str:
        """For programs."""
        images = [{"image": each.name, **each.judgement.model_dump(mode="json")} for each in self.judged]
        return json.dumps({"compared": self.compared, "extractor": self.extractor, "images": images}, indent=2)

    def show(self) -> None:
        """Print a table an image."""
        console = plain_console()
        for each in self.judged:
            console.print(_table(each, self.extractor, self.compared))
            console.print(*_lines(each.judgement), "", sep="\n", soft_wrap=True)

    def picture(self) -> Images:
        """Each image in a row, beside its nearest training images, the nearest first."""
        near = np.array([near.index for each in self.judged for near in each.judgement.nearest], dtype=np.int64)
        scale = max(1, PICTURE_SIDE_PX // self._data.image.size)
        columns = len(near) // len(self.judged)
        left = image_grid(np.stack([each.pixels for each in self.judged]), columns=1, scale=scale)
        return beside(left, image_grid(self._data.train.take(near), columns=columns, scale=scale), gap=4 * scale)


def judge_files(files: Sequence[Path], *, label: str | None) -> Session:
    """Judge image files by the project's generator, its critic and its data.

    Args:
        files: in any format that the data may have.
        label: class that a conditional critic is told; by default the one that the classifier sees.

    Raises:
        UserError: none of the files can be used, or something is missing to judge by.
    """
    config = load_config(paths.PARAMS)
    device = prepare_evaluation(config.evaluate)  # as the stages do, so that their features are in the cache
    data = open_packed(paths.PROCESSED)
    generator = ImageGenerator.load(paths.GENERATOR, str(device))
    generator.check_draws("judge")
    critic = load_critic(paths.GENERATOR, str(device))
    told = _told(label, generator.conditional, data.image)
    usable, troubles = read_images(files, config.data)
    if not usable:
        raise UserError("\n".join(troubles))
    reference = project_reference(config, data, device, notify=_notify)
    drawn = draw(generator, generator_sha256(paths.GENERATOR), reference, config.evaluate)
    judge = Judge(reference, drawn, critic, config.evaluate)
    judgements = judge.judge(np.stack([each.pixels for each in usable]), told)
    return Session(
        judged=tuple(Judged(each.name, each.pixels, found) for each, found in zip(usable, judgements, strict=True)),
        troubles=tuple(troubles),
        extractor=reference.extractor.name,
        compared=judge.compared,
        _data=data,
    )


def _notify(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _told(label: str | None, conditional: bool, image: ImageSpec) -> int | None:
    if label is None:
        return None
    if not image.classes:
        raise UserError(f"--label {label}: the data have no classes; leave it out")
    if not conditional:
        raise UserError(f"--label {label}: the critic of an unconditional generator is told no class; leave it out")
    if label not in image.classes:
        raise UserError(f"--label {label}: unknown, expected one of {', '.join(image.classes)}")
    return image.classes.index(label)


def _table(judged: Judged, extractor: str, compared: int) -> Table:
    found = judged.judgement
    table = Table(
        Column("more real than"),
        Column(f"of {compared} held-out", justify="right"),
        Column(f"of {compared} generated", justify="right"),
        Column("by", justify="right"),
        title=one_line(judged.name),
        title_justify="left",
    )
    for name, standing, unit in (
        ("to the critic", found.critic, "logit"),
        (f"to {extractor} features", found.features, "remoteness"),
    ):
        shares = (f"{share:.1f} %" for share in (standing.held_out, standing.generated))
        table.add_row(name, *shares, f"{unit} {standing.score:.2f}")
    return table


def _lines(found: Judgement) -> Iterator[str]:
    if found.prediction is None:
        yield "class: unknown, the data have no two classes to tell apart"
    else:
        yield f"class: {found.prediction.label} ({100 * found.prediction.probability:.1f} %)"
    near = (
        f"{each.index}{f' ({each.label})' if each.label is not None else ''} at {each.distance:.2f}"
        for each in found.nearest
    )
    yield f"nearest training images: {', '.join(near)}"
    near_copy = "yes" if found.near_copy else "no"
    yield f"near copy: {near_copy}, {found.as_close:.1f} % of held-out images are as close to a training image"
