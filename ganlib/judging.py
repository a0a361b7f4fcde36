"""How real single images are: to the critic, to the features, and beside the training images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganlib.config import EvaluateOptions, Options
from ganlib.datasets.packed.reading import Split
from ganlib.evaluation.copying import plant_copies
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.rejection import critic_logits
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.distances import nearest
from ganlib.metrics.memorisation import FURTHER, close_from, closeness_ratio
from ganlib.metrics.neighbourhood import Balls, remoteness
from ganlib.networks.base import Critic
from ganlib.sampling import Images, as_labels

# Images of each kind that one is compared with: enough to know a percentile to one point.
MOST_COMPARED = 2000
# Training images whose surroundings count as real: the cost grows with the square of their number.
MOST_BALLS = 10_000
NEIGHBOURS_SHOWN = 5


class Standing(Options):
    """Where an image stands among others.

    Attributes:
        score: what it is ranked by.
        held_out, generated: percentage of such images that look less real, ties counted half.
    """

    score: float
    held_out: float
    generated: float


class Prediction(Options):
    """The class that the data set's own classifier sees, and how sure it is."""

    label: str
    probability: float


class Neighbour(Options):
    """A training image: its index in the split, its class (None: unlabelled data), the distance of features."""

    index: int
    label: str | None
    distance: float


class Judgement(Options):
    """What is found of one image.

    Attributes:
        critic: by its logit, high where it looks real, for the class that was given or else predicted.
        features: by remoteness from where training images are close together: up to 1 among them, more outside.
        prediction: None where the data have no two classes.
        nearest: training images, the nearest first.
        closeness: of the nearest one; see `ganlib.metrics.memorisation.Closeness.ratio`.
        as_close: percentage of held-out images that are as close to a training image.
        near_copy: as close as hardly any held-out image is.
    """

    critic: Standing
    features: Standing
    prediction: Prediction | None
    nearest: tuple[Neighbour, ...]
    closeness: float
    as_close: float
    near_copy: bool


@dataclass(frozen=True)
class _Sight:
    """What is seen of N images; probabilities [N, K] are None where the data have no two classes."""

    logits: NDArray[np.float64]
    remoteness: NDArray[np.float64]
    distances: NDArray[np.float64]
    indices: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None

    @property
    def closeness(self) -> NDArray[np.float64]:
        return closeness_ratio(self.distances)


class Judge:
    """Compares single images with as many held-out as generated ones, `compared` of each."""

    def __init__(self, reference: Reference, drawn: Draw, critic: Critic, options: EvaluateOptions) -> None:
        self.compared = min(len(reference.data.test), drawn.count, MOST_COMPARED)
        self._reference = reference
        self._critic = critic
        self._conditional = drawn.generator.conditional
        self._batch_size = options.batch_size
        train = reference.train.values
        self._balls = Balls.of(train[_spread(len(train), MOST_BALLS)], options.neighbours, side="training")
        real = _spread(len(reference.data.test), self.compared)
        self._held_out = self._look(reference.data.test.take(real), reference.test.values[real])
        images = drawn.images(range(self.compared), batch_size=options.batch_size)
        self._generated = self._look(images, drawn.sample.features.values[: self.compared])
        copies = plant_copies(
            reference.data.train, np.arange(len(train)), seed=seed_for("planted copies", options.seed)
        )
        planted = nearest(reference.extractor.extract(copies).values, train, FURTHER)[0]
        self._close_from = close_from(self._held_out.closeness, closeness_ratio(planted.numpy()))

    def judge(self, images: Images, label: int | None = None) -> tuple[Judgement, ...]:
        """Judge images, uint8 [N, H, W, C] like those of the data; `label` is what a conditional critic is told."""
        sight = self._look(images, self._reference.extractor.extract(images).values, label)
        return tuple(self._judged(sight, row) for row in range(len(images)))

    def _look(self, images: Images, values: Tensor, label: int | None = None) -> _Sight:
        distances, indices = nearest(values, self._reference.train.values, max(NEIGHBOURS_SHOWN, FURTHER))
        probabilities = self._probabilities(images)
        labels = None
        if self._conditional:
            # Without a classifier all images are of the one class that there is.
            seen = [0] * len(images) if probabilities is None else probabilities.argmax(dim=1).tolist()
            labels = as_labels(seen if label is None else [label] * len(images))
        return _Sight(
            logits=critic_logits(self._critic, self._batches(images), labels).double().numpy(),
            remoteness=remoteness(values, self._balls).numpy(),
            distances=distances.numpy(),
            indices=indices.numpy(),
            probabilities=None if probabilities is None else probabilities.numpy(),
        )

    def _probabilities(self, images: Images) -> Tensor | None:
        classifier = self._reference.classifier
        if classifier is None:
            return None
        return classifier.extract_all(self._batches(images)).logits.double().softmax(dim=1)

    def _batches(self, images: Images) -> Iterator[Images]:
        return (images[start : start + self._batch_size] for start in range(0, len(images), self._batch_size))

    def _judged(self, sight: _Sight, row: int) -> Judgement:
        closeness, usual = float(sight.closeness[row]), self._held_out.closeness
        held_out, generated = self._held_out, self._generated
        return Judgement(
            critic=_standing(sight.logits[row], held_out.logits, generated.logits),
            features=_standing(sight.remoteness[row], held_out.remoteness, generated.remoteness, high_is_real=False),
            prediction=self._prediction(sight, row),
            nearest=tuple(
                Neighbour(index=int(index), label=self._class_of(self._reference.data.train, index), distance=distance)
                for index, distance in zip(sight.indices[row], sight.distances[row].tolist(), strict=True)
            ),
            closeness=closeness,
            as_close=100 * float((usual <= closeness).mean()),
            near_copy=closeness <= self._close_from,
        )

    def _prediction(self, sight: _Sight, row: int) -> Prediction | None:
        if sight.probabilities is None:
            return None
        best = int(sight.probabilities[row].argmax())
        return Prediction(
            label=self._reference.data.image.classes[best], probability=float(sight.probabilities[row, best])
        )

    def _class_of(self, split: Split, index: int) -> str | None:
        return None if split.labels is None else self._reference.data.image.classes[split.labels[index]]


def _standing(
    score: float, held_out: NDArray[np.float64], generated: NDArray[np.float64], *, high_is_real: bool = True
) -> Standing:
    def less_real(others: NDArray[np.float64]) -> float:
        below = (others < score) if high_is_real else (others > score)
        return 100 * float(below.mean() + (others == score).mean() / 2)

    return Standing(score=float(score), held_out=less_real(held_out), generated=less_real(generated))


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many indices, evenly over all: splits are sorted by class."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
