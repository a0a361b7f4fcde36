"""What to expect of a run, and what would make it better, in sentences."""

from collections.abc import Iterator

from ganlib.config import NEIGHBOURHOOD_IMAGES, RunConfig
from ganlib.counting import told_time
from pipelines.advice.choosing import FEW_PICTURES, LEAST_A_CLASS, is_sequence
from pipelines.advice.machine import Machine
from pipelines.advice.pictures import Pictures
from pipelines.advice.planning import Forecast

_MANY_PICTURES = 20_000
_SKEWED = 5
_FEWEST_STEPS = 300


def expectations(config: RunConfig, pictures: Pictures, expected: Forecast, machine: Machine) -> Iterator[str]:
    """Time, memory, and what so many pictures can give."""
    stages = ", ".join(f"{name} {told_time(seconds)}" for name, seconds in expected.stages.items())
    yield f"gan repro takes about {told_time(expected.total)}: {stages}, if the machine stays as busy as it is now"
    short = (
        "" if expected.memory_gib < machine.free_gib else f", more than the {machine.free_gib:.1f} GiB that are free"
    )
    yield f"it needs about {expected.memory_gib:.1f} GiB of memory{short}"
    yield _quality(pictures.count, config.train.total_images)
    steps = config.train.total_images // config.train.images_per_iteration
    if steps < _FEWEST_STEPS:
        yield f"{steps} steps show little more than colours; give it more minutes, for {_FEWEST_STEPS} steps or more"
    if pictures.test < NEIGHBOURHOOD_IMAGES:
        yield (
            f"with {pictures.test} held-out pictures copies of training pictures cannot be counted; that takes "
            f"{NEIGHBOURHOOD_IMAGES}"
        )


def recommendations(config: RunConfig, pictures: Pictures, machine: Machine) -> Iterator[str]:
    """What would make the result better, the most useful first."""
    if is_sequence(pictures) and config.data.cleaning.policy.near_duplicate == "keep":
        yield (
            f"pictures that differ more: {pictures.near_across} of {pictures.test} held-out ones have a near duplicate "
            "to train on, so figures say little about new pictures"
        )
    if pictures.count < FEW_PICTURES:
        yield f"more pictures: {FEW_PICTURES} or more of one kind"
    if not config.network.conditional and pictures.count >= 2 * LEAST_A_CLASS:
        yield (
            f"a folder for each kind of picture, of {LEAST_A_CLASS} or more: told the kind, the same training makes "
            "better and more varied pictures"
        )
    if len(pictures.classes) > 1:
        few, many = (pick(pictures.classes.items(), key=lambda each: each[1]) for pick in (min, max))
        if many[1] > _SKEWED * few[1]:
            yield f"more pictures of {few[0]}, of which there are {few[1]}; of {many[0]} there are {many[1]}"
    if machine.gpu is None:
        yield "a GPU: many more steps in the same time, and pictures of 128 or 256 pixels"
        yield "more time: gan start … --minutes N"
        if config.data.image_size > 32:
            yield "a smaller size: gan start … --size 32 has about a quarter of the work in each step"


def _quality(count: int, shown: int) -> str:
    times = shown / count
    epochs = f"each picture is shown {times:.0f} times" if times >= 2 else f"{shown} pictures are shown in all"
    if count < FEW_PICTURES:
        return f"{count} pictures give variations of what is there, not much that is new; {epochs}"
    if count < _MANY_PICTURES:
        return f"{count} pictures give shapes, colours and textures of their kind; {epochs}"
    return f"{count} pictures are enough for recognisable things where the time suffices; {epochs}"
