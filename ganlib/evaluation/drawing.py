"""What generators are compared with, and what is drawn from them: features, each computed once."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import ganlib.degradations
import ganlib.networks
import ganlib.packaging
import ganlib.sampling
from ganlib.config import EvaluateOptions, InputsOptions
from ganlib.datasets.packed.kinds import given_part, made_part
from ganlib.datasets.packed.reading import PackedData, Split
from ganlib.degradations import inputs_of
from ganlib.errors import UserError
from ganlib.metrics.cache import cached_features
from ganlib.metrics.checks import check_generated, check_real
from ganlib.metrics.estimates import members_of
from ganlib.metrics.extractors import DomainExtractor, Extractor, Features
from ganlib.metrics.intervals import Sample
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, balanced_labels, proportional_labels, render, seeded_latents
from ganlib.source_digest import source_digest

Notify = Callable[[str], None]
_CLASSES_NAMED = 10


@dataclass(frozen=True)
class Reference:
    """The real images, and who looks at them.

    Attributes:
        data: both splits; where a translator makes one class of the images, of this class alone.
        extractor: whose features the metrics are of.
        classifier: the data set's own classifier; None where the data have no two classes.
        test, train: features of the splits.
        cache: folder of features.
        notify: hears of what takes long or was damaged.
        given: the held-out images that a translator is given, or that what it is given is made from.
    """

    data: PackedData
    extractor: Extractor
    classifier: DomainExtractor | None
    test: Features
    train: Features
    cache: Path
    notify: Notify
    given: Split

    @cached_property
    def test_sample(self) -> Sample:
        """The held-out images as the metrics take them; a draw that can be asked for classes has their shares."""
        labels = _labels(self.data.test)
        return Sample(self.test, labels, stratified=labels is not None)


@dataclass(frozen=True)
class Draw:
    """A seeded draw from a generator, seen through its features; images are made again when they are needed.

    Of a conditional generator the first N images have the class shares of the held-out ones: they are what is compared
    with these. More images of rare classes follow, until there are as many of each class as in an even draw of N: what
    is said of each class is said of these.

    Attributes:
        generator: that was drawn from.
        sha256: its content address.
        seed: of the draw.
        truncation: psi that the latents are scaled by; 1 for all that the generator can do.
        count: N, the images that are compared.
        labels: classes asked for, int64 [N or more]; None from an unconditional generator.
        features: of the reference's extractor, of all images.
        class_logits: of the data set's classifier, likewise, [N or more, K]; None where there is none.
        translated: the held-out images, in turns, whose inputs a translator was given; None from another generator.
    """

    generator: ImageGenerator
    sha256: str
    seed: int
    truncation: float
    count: int
    labels: Tensor | None
    features: Features
    class_logits: Tensor | None
    translated: Split | None = None

    @cached_property
    def sample(self) -> Sample:
        """The images that are compared, as the metrics take them: so many of each class on purpose."""
        return self.part(slice(self.count))

    @cached_property
    def even_rows(self) -> slice | NDArray[np.int64]:
        """As many images of each class, by index: what is said class by class is said of these."""
        if self.labels is None or len(self.labels) == self.count:  # no class lacks any
            return slice(self.count)
        wanted = np.bincount(balanced_labels(self.count, self.generator.image.num_classes))
        return np.sort(np.concatenate([members[: wanted[label]] for label, members in members_of(self.labels)]))

    def part(self, rows: slice | NDArray[np.int64]) -> Sample:
        """Some images of the whole draw, by index."""
        labels = None if self.labels is None else self.labels[rows]
        features = Features(self.features.values[rows], self.features.logits[rows])
        return Sample(features, labels, stratified=labels is not None)

    def classified(self, rows: slice | NDArray[np.int64]) -> Sample | None:
        """Some images with the logits of the data set's own classifier; None where there is none, or no class asked."""
        if self.class_logits is None or self.labels is None:
            return None
        sample = self.part(rows)
        return replace(sample, features=sample.features.with_logits(self.class_logits[rows]))

    def images(self, indices: Sequence[int], *, batch_size: int) -> Images:
        """Images of the draw by index: uint8 [n, H, W, C]."""
        rows = torch.as_tensor(list(indices), dtype=torch.int64)
        every = seeded_latents(len(self.features), self.generator.network.latent_dim, self.seed)
        latents = every[rows] * self.truncation
        condition = condition_of(self.generator, self.labels, self.translated, rows.numpy(), seed=self.seed)
        return render(self.generator.generator, latents, condition, batch_size=batch_size)


def open_reference(
    data: PackedData,
    extractor: Extractor,
    classifier: DomainExtractor | None,
    *,
    cache: Path,
    notify: Notify,
    inputs: InputsOptions | None = None,
) -> Reference:
    """The reference, with the features of both splits from the cache where they are known; `inputs` of translators.

    Raises:
        UserError: features of which no statistic can be made, or a class that a translator makes or is given is absent.
    """
    given = data.test
    if inputs is not None:
        given = given_part(data.test, data.image, inputs)
        train, test = (made_part(split, data.image, inputs) for split in (data.train, data.test))
        data = replace(data, train=train, test=test)
    seen_test, seen_train = (split_features(extractor, split, cache, notify) for split in (data.test, data.train))
    check_real(seen_test, data.test.name)
    check_real(seen_train, data.train.name)
    return Reference(data, extractor, classifier, seen_test, seen_train, cache, notify, given)


def draw(
    generator: ImageGenerator, sha256: str, reference: Reference, options: EvaluateOptions, *, truncation: float = 1.0
) -> Draw:
    """Draw `options.samples` images to compare; their features are kept by the generator's content address.

    Of a translator at most as many as there are held-out inputs.

    Raises:
        UserError: image formats differ, or features of which no statistic can be made.
    """
    check_comparable(generator, reference.data)
    if generator.inputs is not None:  # one of each input: more would look alike
        options = options.model_copy(update={"samples": min(options.samples, len(reference.given))})
    labels = _asked(options.samples, reference.data) if generator.conditional else None
    seen_by = partial(_features, generator, sha256, reference, options, labels, truncation)
    found = seen_by(reference.extractor)
    check_generated(found)
    logits = None
    if reference.classifier is not None:
        same = reference.extractor.name == "domain"
        logits = (found if same else seen_by(reference.classifier)).logits
    translated = None if generator.inputs is None else reference.given
    return Draw(generator, sha256, options.seed, truncation, options.samples, labels, found, logits, translated)


def draw_images(
    generator: ImageGenerator,
    options: EvaluateOptions,
    labels: Tensor | None,
    *,
    truncation: float = 1.0,
    rows: slice | NDArray[np.int64] = slice(None),
    translated: Split | None = None,
) -> Iterator[Images]:
    """The images of a draw, `options.batch_size` at a time: memory does not grow with their number.

    They are as many as labels [N], or `options.samples` of an unconditional generator; `rows` are those wanted.
    A translator is given the inputs of `translated`, in turns.
    """
    count = options.samples if labels is None else len(labels)
    latents = seeded_latents(count, generator.network.latent_dim, options.seed) * truncation
    wanted = np.arange(count)[rows]
    for start in range(0, len(wanted), options.batch_size):
        chunk = wanted[start : start + options.batch_size]
        condition = condition_of(generator, labels, translated, chunk, seed=options.seed)
        yield render(generator.generator, latents[chunk], condition, batch_size=options.batch_size)


def condition_of(
    generator: ImageGenerator, labels: Tensor | None, translated: Split | None, rows: NDArray[np.int64], *, seed: int
) -> Tensor | None:
    """What some rows of a draw ask for: labels [n], a translator's inputs [n, C, H, W], or nothing."""
    if generator.inputs is None:
        return None if labels is None else labels[torch.from_numpy(rows)]
    assert translated is not None
    places = rows % len(translated)
    return inputs_of(translated, places, generator.inputs, seed=seed)


def images_code() -> str:
    """A digest of the code that makes a generator's images from its weights."""
    return source_digest(ganlib.degradations, ganlib.networks, ganlib.packaging, ganlib.sampling)


def check_comparable(generator: ImageGenerator, data: PackedData) -> None:
    """Refuse a generator of other images than the reference.

    Raises:
        UserError: size, channels or (for a conditional generator) classes differ.
    """
    for name in ("size", "channels"):
        mine, theirs = getattr(generator.image, name), getattr(data.image, name)
        if mine != theirs:
            raise UserError(
                f"generator makes images of {name} {mine}, the reference has {theirs}; they cannot be compared"
            )
    if generator.conditional and generator.image.classes != data.image.classes:
        raise UserError(_different(generator.image.classes, data.image.classes))


def _different(mine: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    """Which classes only a generator or only the reference has."""
    sides = {
        "only the generator has": [name for name in mine if name not in theirs],
        "only the reference has": [name for name in theirs if name not in mine],
    }
    told = [f"{who} {_listed(names)}" for who, names in sides.items() if names]
    order = "they are in another order"
    return f"generator and reference have different classes: {'; '.join(told) or order}; they cannot be compared"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _CLASSES_NAMED} more" if len(names) > _CLASSES_NAMED else ""
    return ", ".join(names[:_CLASSES_NAMED]) + more


def split_features(extractor: Extractor, split: Split, cache: Path, notify: Notify) -> Features:
    """The features of a whole split, from the cache where they are known."""
    return cached_features(
        extractor, digest=split.digest, count=len(split), batches=split.batches(), folder=cache, notify=notify
    )


def _features(
    generator: ImageGenerator,
    sha256: str,
    reference: Reference,
    options: EvaluateOptions,
    labels: Tensor | None,
    truncation: float,
    extractor: Extractor,
) -> Features:
    made_on = f"{next(generator.generator.parameters()).device.type} {torch.get_num_threads()}"
    asked = "" if labels is None else hashlib.sha256(labels.numpy().data).hexdigest()
    if generator.inputs is not None:
        asked = reference.given.digest
    count = options.samples if labels is None else len(labels)
    drawn = f"{sha256} {options.seed} {count} {asked} {truncation} {options.batch_size} {made_on} {images_code()}"
    return cached_features(
        extractor,
        digest=hashlib.sha256(drawn.encode()).hexdigest(),
        count=count,
        batches=draw_images(
            generator,
            options,
            labels,
            truncation=truncation,
            translated=None if generator.inputs is None else reference.given,
        ),
        folder=reference.cache,
        notify=reference.notify,
    )


def _asked(count: int, data: PackedData) -> Tensor:
    """`count` classes in the shares of the held-out split, and then what some lack to be as many as in an even draw."""
    held_out, classes = _labels(data.test), data.image.num_classes
    assert held_out is not None
    compared = proportional_labels(count, torch.bincount(held_out, minlength=classes).numpy())
    even, found = (torch.bincount(labels, minlength=classes) for labels in (balanced_labels(count, classes), compared))
    lacking = (even - found).clamp(min=0)
    total = int(lacking.sum())
    return torch.cat([compared, proportional_labels(total, lacking.numpy())]) if total else compared


def _labels(split: Split) -> Tensor | None:
    return None if split.labels is None else torch.from_numpy(split.labels.copy())
