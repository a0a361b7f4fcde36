"""What a run asks of its data: all that does not fit, at once, each with a value that would do."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ganlib.config.run import RunConfig
from ganlib.config.stages import LEAST_IMAGES, EvaluateOptions
from ganlib.config.translation import classes_of
from ganlib.errors import UserError

# Of a share's images, how many standard deviations fewer may fall into the split.
_SPREAD = 3.0
_MOST_TEST_SHARE = 0.5
_NAMED = 10


@dataclass(frozen=True)
class DataCounts:
    """How many images there are to train on and held out, and of how many classes; None where it is not known.

    `classes` is 0 for unlabelled data. Unless `exact`, the numbers are the most that there can be. `test_per_class`
    are the images held out of each class, by name.
    """

    train: int | None
    test: int | None
    classes: int | None
    exact: bool = True
    test_per_class: Mapping[str, int] | None = None

    @property
    def _found(self) -> str:
        return "found" if self.exact else "found at most"


def check_data_fits(config: RunConfig, counts: DataCounts) -> None:
    """Refuse data that are too few, or unlabelled, for what the parameters ask for.

    Raises:
        UserError: a line for all that does not fit.
    """
    lines = misfits(config, counts)
    if lines:
        raise UserError("\n".join(lines))


def misfits(config: RunConfig, counts: DataCounts) -> list[str]:
    """A line for each parameter that the data do not fit: what was found, what is needed, what would do."""
    lines: list[str] = []
    if counts.classes is not None:
        lines += _labels(config, counts.classes)
    kinds = classes_of(config.data.inputs)
    if counts.test_per_class is not None and kinds:
        absent = list(_absent_classes(kinds, tuple(counts.test_per_class)))
        if absent:
            return lines + absent
        # As many translations as there are of the classes that are given meet the class that is made.
        made, *given = (counts.test_per_class[name] for name in kinds.values())
        counts = replace(counts, test=min(made, sum(given)))
    if counts.train is not None:
        learned = counts.train
        if config.data.inputs is not None and not kinds:  # of classes, only the images themselves tell
            lines += measure_misfits(config.train.measure_samples, counts.train, counts._found)
            learned -= min(config.train.measure_samples, counts.train // 2)
        lines += _batch(config, learned, counts._found)
    if counts.test is not None:
        lines += evaluate_misfits(config.evaluate, counts.test, counts._found)
        lines += _gate(config, counts)
    return lines


def evaluate_misfits(options: EvaluateOptions, held_out: int, found: str = "found") -> Iterator[str]:
    """What of `evaluate` asks for more held-out images than there are."""
    needs = {
        "kid_subset_size": (options.kid_subset_size, held_out),
        "neighbours": (options.neighbours + 1, held_out - 1),
    }
    for name, (least, fitting) in needs.items():
        if held_out < least:
            lower = f"lower evaluate.{name} to {fitting} or " if fitting >= 1 else ""
            yield (
                f"evaluate.{name}={getattr(options, name)}: needs at least {least} held-out images, {found} "
                f"{held_out}; {lower}provide more images"
            )


def measure_misfits(samples: int, images: int, found: str = "found") -> Iterator[str]:
    """Whether a translator would be scored on more images than its training can spare."""
    if samples > images // 2:
        lower = f"lower it to {images // 2} or " if images >= 4 else ""
        yield (
            f"train.measure_samples={samples}: a translator is scored on training images that it does not learn from, "
            f"at most half of those that it could be given, {found} {images}; {lower}provide more images"
        )


def _labels(config: RunConfig, classes: int) -> Iterator[str]:
    if classes == 0:
        if config.network.conditional:
            yield (
                "network.conditional=true: needs labelled data, found images without class folders in data.source; "
                "put them into class folders or set it to false"
            )
        if config.train.class_balanced:
            yield "train.class_balanced=true: needs labelled data, found none in data.source; set it to false"
    if classes > 1:
        return
    found = "one class only" if classes else "no labels"
    remedies = {
        "train.extractor": "inception or, without its weights, to random",
        "evaluate.extractor": "inception or, without its weights, to random",
        "register.metric": "inception/kid, or random/kid with evaluate.extractor=random",
    }
    for name in config.asking_for_domain:
        value = config.register_.metric if name == "register.metric" else "domain"
        yield (
            f"{name}={value}: domain features need labelled data of two classes or more, found {found} in data.source; "
            f"set it to {remedies[name]}"
        )


def _absent_classes(kinds: Mapping[str, str], names: tuple[str, ...]) -> Iterator[str]:
    for parameter, name in kinds.items():
        if name not in names:
            found = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "") or "no labels"
            yield f"{parameter}={name}: no such class in data.source, found {found}; name one of these"


def _batch(config: RunConfig, images: int, found: str) -> Iterator[str]:
    train = config.train
    if train.batch_size > images:
        part = train.accumulation * (1 if train.devices == "auto" else train.devices)
        fitting = part * 2 ** int(math.log2(images / part)) if images >= 2 * part else None
        lower = f"lower it to {fitting} or " if fitting is not None else ""
        yield (f"train.batch_size={train.batch_size}: {found} {images} training images; {lower}provide more images")


def _gate(config: RunConfig, counts: DataCounts) -> Iterator[str]:
    _, least = config.images_for_the_gate
    assert counts.test is not None
    if counts.test >= least:
        return
    extractor, _, figure = config.register_.metric.partition("/")
    remedies = list(_holding_out_more(config, counts, least))
    if figure != "kid" and counts.test >= LEAST_IMAGES:
        remedies.append(f"set register.metric to {extractor}/kid, which needs {LEAST_IMAGES}")
    yield (
        f"register.metric={config.register_.metric}: its interval needs {least} held-out images, {counts._found} "
        f"{counts.test}; {' or '.join(remedies)}"
    )


def _holding_out_more(config: RunConfig, counts: DataCounts, least: int) -> Iterator[str]:
    """A share that would most probably hold out enough, where there is one, or how many images would be needed."""
    share = config.data.test_share
    assert counts.test is not None
    wanted = least + _SPREAD * math.sqrt(least)
    together = None if counts.train is None else counts.train + (counts.test if counts.exact else 0)
    fitting = 1.0 if not together else math.ceil(100 * wanted / together) / 100
    if share < fitting <= _MOST_TEST_SHARE:
        own = " (and data.split to hash, if data.source has a test part of its own)"
        yield f"raise data.test_share to {fitting:g}{own if config.data.split == 'source' else ''}"
    else:
        yield f"provide more images (about {math.ceil(wanted / share)} with data.test_share={share:g})"
