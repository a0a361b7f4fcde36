"""What generators are compared with, and what is drawn from them: features, each computed once."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

import ganlib.networks
import ganlib.packaging
import ganlib.sampling
from ganlib.config import EvaluateOptions
from ganlib.datasets.packed.reading import PackedData, Split
from ganlib.errors import UserError
from ganlib.metrics.cache import cached_features
from ganlib.metrics.checks import check_generated, check_real
from ganlib.metrics.extractors import DomainExtractor, Extractor, Features
from ganlib.metrics.intervals import Sample
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, balanced_labels, render, seeded_latents
from ganlib.source_digest import source_digest

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Reference:
    """The real images, and who looks at them.

    Attributes:
        data: both splits.
        extractor: whose features the metrics are of.
        classifier: the data set's own classifier; None where the data have no labels.
        test, train: features of the splits.
        cache: folder of features.
        notify: hears of what takes long or was damaged.
    """

    data: PackedData
    extractor: Extractor
    classifier: DomainExtractor | None
    test: Features
    train: Features
    cache: Path
    notify: Notify

    @cached_property
    def test_sample(self) -> Sample:
        """The held-out images as the metrics take them."""
        return Sample(self.test, _labels(self.data.test), stratified=False)


@dataclass(frozen=True)
class Draw:
    """A seeded draw from a generator, seen through its features; images are made again when they are needed.

    Attributes:
        generator: that was drawn from.
        sha256: its content address.
        seed: of the draw.
        truncation: psi that the latents are scaled by; 1 for all that the generator can do.
        labels: classes asked for, int64 [N]; None from an unconditional generator.
        features: of the reference's extractor.
        class_logits: of the data set's classifier, [N, K]; None where the data have no labels.
    """

    generator: ImageGenerator
    sha256: str
    seed: int
    truncation: float
    labels: Tensor | None
    features: Features
    class_logits: Tensor | None

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def sample(self) -> Sample:
        """As the metrics take it: as many of each class on purpose."""
        return Sample(self.features, self.labels, stratified=self.labels is not None)

    def images(self, indices: Sequence[int], *, batch_size: int) -> Images:
        """Images of the draw by index: uint8 [n, H, W, C]."""
        rows = torch.as_tensor(list(indices), dtype=torch.int64)
        latents = seeded_latents(len(self), self.generator.network.latent_dim, self.seed)[rows] * self.truncation
        labels = None if self.labels is None else self.labels[rows]
        return render(self.generator.generator, latents, labels, batch_size=batch_size)


def open_reference(
    data: PackedData,
    extractor: Extractor,
    classifier: DomainExtractor | None,
    *,
    cache: Path,
    notify: Notify,
) -> Reference:
    """The reference, with the features of both splits from the cache where they are known.

    Raises:
        UserError: features of which no statistic can be made.
    """
    test, train = (split_features(extractor, split, cache, notify) for split in (data.test, data.train))
    check_real(test, data.test.name)
    check_real(train, data.train.name)
    return Reference(data, extractor, classifier, test, train, cache, notify)


def draw(
    generator: ImageGenerator, sha256: str, reference: Reference, options: EvaluateOptions, *, truncation: float = 1.0
) -> Draw:
    """Draw `options.samples` images; their features are kept by the generator's content address.

    Raises:
        UserError: image formats differ, or features of which no statistic can be made.
    """
    check_comparable(generator, reference.data)
    labels = balanced_labels(options.samples, generator.image.num_classes) if generator.conditional else None
    seen_by = partial(_features, generator, sha256, reference, options, labels, truncation)
    found = seen_by(reference.extractor)
    check_generated(found)
    logits = None
    if reference.classifier is not None:
        same = reference.extractor.name == "domain"
        logits = (found if same else seen_by(reference.classifier)).logits
    return Draw(generator, sha256, options.seed, truncation, labels, found, logits)


def draw_images(
    generator: ImageGenerator, options: EvaluateOptions, labels: Tensor | None, *, truncation: float = 1.0
) -> Iterator[Images]:
    """The images of a draw, `options.batch_size` at a time: memory does not grow with their number."""
    latents = seeded_latents(options.samples, generator.network.latent_dim, options.seed) * truncation
    for start in range(0, options.samples, options.batch_size):
        rows = slice(start, start + options.batch_size)
        chunk = None if labels is None else labels[rows]
        yield render(generator.generator, latents[rows], chunk, batch_size=options.batch_size)


def images_code() -> str:
    """A digest of the code that makes a generator's images from its weights."""
    return source_digest(ganlib.networks, ganlib.packaging, ganlib.sampling)


def check_comparable(generator: ImageGenerator, data: PackedData) -> None:
    """Refuse a generator of other images than the reference.

    Raises:
        UserError: size, channels or (for a conditional generator) classes differ.
    """
    for name in ("size", "channels"):
        mine, theirs = getattr(generator.image, name), getattr(data.image, name)
        if mine != theirs:
            raise UserError(f"generator makes images of {name} {mine}, the reference has {theirs}; they do not compare")
    if generator.conditional and generator.image.classes != data.image.classes:
        raise UserError("generator and reference have different classes; they do not compare")


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
    drawn = f"{sha256} {options.seed} {options.samples} {truncation} {options.batch_size} {made_on} {images_code()}"
    return cached_features(
        extractor,
        digest=hashlib.sha256(drawn.encode()).hexdigest(),
        count=options.samples,
        batches=draw_images(generator, options, labels, truncation=truncation),
        folder=reference.cache,
        notify=reference.notify,
    )


def _labels(split: Split) -> Tensor | None:
    return None if split.labels is None else torch.from_numpy(split.labels.copy())
