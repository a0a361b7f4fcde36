"""Contests of the gate, drawn from pools of generated images.

A contest is `compare` and `decide` as the register stage calls them. Its held-out images are fresh: as many of all real
images as the test split has, or rows of a pool in their place, where more are wanted than there are. Its two draws are
other fresh rows of the pool, in the class shares of the held-out images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganlib.config import EvaluateOptions, RegisterOptions, RunConfig, load_config
from ganlib.datasets.packed.reading import Split, open_packed
from ganlib.evaluation.comparison import Compared, compare
from ganlib.evaluation.drawing import Draw, Reference, draw_images, open_reference
from ganlib.evaluation.record import FORMAT_VERSION, Conditions, Evaluation, Figure
from ganlib.metrics.estimates import members_of
from ganlib.metrics.extractors import DomainExtractor, Features, load_domain_extractor
from ganlib.metrics.intervals import labels_of
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.sampling import balanced_labels, proportional_labels
from pipelines import paths
from pipelines.registry.gate import Opponent, decide
from pipelines.registry.verdict import Verdict

POOL, SPLITS = 60_000, 20


@dataclass(frozen=True)
class Pool:
    """Many generated images: rows of features [N, D], logits [N, K] and pixels uint8 [N, P]."""

    features: Features
    pixels: Tensor

    def rows(self, chosen: Tensor) -> "Pool":
        """Some of them."""
        return Pool(Features(self.features.values[chosen], self.features.logits[chosen]), self.pixels[chosen])

    def mixed(self, other: "Pool", mask: Tensor) -> "Pool":
        """Rows of the other where the mask [N] says so."""
        values, logits, pixels = (
            torch.where(mask[:, None], theirs, mine)
            for mine, theirs in (
                (self.features.values, other.features.values),
                (self.features.logits, other.features.logits),
                (self.pixels, other.pixels),
            )
        )
        return Pool(Features(values, logits), pixels)


@dataclass(frozen=True)
class World:
    """What contests are drawn from: pools of images, clean and blurred, and all real images with their features."""

    config: RunConfig
    reference: Reference
    whole: Draw
    clean: Pool
    blurred: Pool
    real: Pool
    real_labels: Tensor

    @property
    def labels(self) -> Tensor:
        """Classes of the pool's rows, [N]."""
        assert self.whole.labels is not None
        return self.whole.labels

    @classmethod
    def open(cls) -> "World":
        """From the project in the working directory."""
        config = load_config(paths.PARAMS)
        torch.set_num_threads(config.evaluate.threads)
        data = open_packed(paths.PROCESSED)
        extractor = load_domain_extractor(paths.EXTRACTOR, torch.device("cpu"))
        reference = open_reference(data, extractor, extractor, cache=paths.FEATURES, notify=print)
        generator = ImageGenerator.load(paths.GENERATOR)
        asked = balanced_labels(POOL, data.image.num_classes)
        images = torch.from_numpy(np.concatenate(list(draw_images(generator, config.evaluate, asked))))
        sides = (data.train, data.test)
        real = torch.from_numpy(np.concatenate([split.take(np.arange(len(split))) for split in sides]))
        labels = torch.from_numpy(np.concatenate([split.labels for split in sides if split.labels is not None]))
        clean, blurred, everything = (_seen(extractor, each) for each in (images, _blurred(images), real))
        sha256, seen = generator_sha256(paths.GENERATOR), clean.features
        whole = Draw(generator, sha256, config.evaluate.seed, 1.0, POOL, asked, seen, seen.logits)
        return cls(config, reference, whole, clean, blurred, everything, labels)

    def held_out(self, random: np.random.Generator) -> Reference:
        """Real images, from both splits by chance."""
        chosen = torch.from_numpy(random.permutation(len(self.real_labels))[: len(self.reference.test)])
        return self._beside(self.real.rows(chosen).features, self.real_labels[chosen])

    def standing_in(self, rows: Tensor) -> Reference:
        """Rows of the pool in the place of held-out images."""
        return self._beside(self.clean.rows(rows).features, self.labels[rows])

    def _beside(self, features: Features, labels: Tensor) -> Reference:
        split = Split("test", "", labels.numpy(), [], np.array([0, len(labels)]))
        return replace(self.reference, data=replace(self.reference.data, test=split), test=features)

    def rows(self, labels: Tensor, random: np.random.Generator) -> Tensor:
        """Random rows of these classes, [N], none of them twice."""
        chosen = torch.empty_like(labels)
        for label, places in members_of(labels):
            members = torch.nonzero(self.labels == label)[:, 0]
            chosen[places] = members[torch.from_numpy(random.permutation(len(members))[: len(places)])]
        return chosen

    def drawn(self, pool: Pool, rows: Tensor) -> Draw:
        """Images of a pool as a generator's draw."""
        found = pool.features
        return replace(self.whole, count=len(rows), labels=self.labels[rows], features=found, class_logits=found.logits)


def _seen(extractor: DomainExtractor, images: Tensor) -> Pool:
    batches = (each.numpy() for each in torch.split(images, 250))
    return Pool(extractor.extract_all(batches), images.flatten(1))


def _blurred(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C], averaged over 3 x 3 pixels."""
    planes = images.permute(0, 3, 1, 2).float()
    return F.avg_pool2d(planes, 3, stride=1, padding=1).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


# What becomes of the images of some rows.
Fault = Callable[[Pool, Tensor, np.random.Generator], Pool]


@dataclass(frozen=True)
class Contest:
    """The comparison's metric, and the verdict by margin."""

    metric: Compared
    verdicts: dict[float, Verdict]


def contests(
    world: World,
    pairs: int,
    samples: int,
    *,
    guards: bool,
    stand_ins: int = 0,
    challenger: Fault | None = None,
    champion: Fault | None = None,
) -> Iterator[Contest]:
    """Contests of two draws, each perhaps with a fault.

    Args:
        world: of the images.
        pairs: how many contests.
        samples: images of each side.
        guards: whether they are looked at.
        stand_ins: generated images in the place of real held-out ones; 0: real ones.
        challenger: its fault, if any.
        champion: likewise.
    """
    options, evaluate = _options(world.config, guards=guards)
    for seed in range(pairs):
        random = np.random.default_rng([seed, samples, stand_ins])
        classes = world.reference.data.image.num_classes
        reference = world.held_out(random)
        held_out = balanced_labels(stand_ins, classes) if stand_ins else labels_of(reference.test_sample, "gate")
        asked = proportional_labels(samples, torch.bincount(held_out, minlength=classes).numpy())
        drawn = world.rows(torch.cat([asked, asked, held_out]), random)
        one, other, rest = torch.split(drawn, [samples, samples, len(held_out)])
        if stand_ins:
            reference = world.standing_in(rest)
        sides = []
        for rows, fault in ((one, challenger), (other, champion)):
            pool = world.clean.rows(rows)
            sides.append(world.drawn(pool if fault is None else fault(pool, rows, random), rows))
        found = compare(sides[0], sides[1], reference, options, evaluate)
        opponent = Opponent("1", found, remeasured=False)
        measured = _evaluation(found.metric.challenger, options.metric, len(reference.test), samples)
        verdicts = {
            margin: decide(options.model_copy(update={"margin": margin}), measured, opponent)
            for margin in sorted({0.0, options.margin})
        }
        yield Contest(found.metric, verdicts)


def _options(config: RunConfig, *, guards: bool) -> tuple[RegisterOptions, EvaluateOptions]:
    off: dict[str, Any] = dict.fromkeys(config.register_.guards.model_fields_set)
    limits = config.register_.guards if guards else config.register_.guards.model_copy(update=off)
    return (
        config.register_.model_copy(update={"guards": limits.model_copy(update={"memorised_share": None})}),
        config.evaluate.model_copy(update={"interval_splits": SPLITS}),
    )


def _evaluation(value: float, metric: str, reference_count: int, generated_count: int) -> Evaluation:
    """The record of a challenger of whom nothing but the metric was measured."""
    conditions = Conditions(
        extractor=metric.partition("/")[0], weights_sha256="", alpha=None, reference="test", reference_digest="",
        reference_count=reference_count, generated_count=generated_count, resizer="",
    )  # fmt: skip
    figure = Figure(value=value, interval=None, conditions=conditions)
    return Evaluation(
        format_version=FORMAT_VERSION, generator_sha256="", measured_on="", alarms=(), metrics={metric: figure},
        skipped={}, classes=(), memorisation={}, truncation=(), rejection=None, reconstruction=None, translation=None,
    )  # fmt: skip
