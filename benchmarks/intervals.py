"""How often 95 % intervals hold the truth, on fresh samples of constructed distributions.

    python -m benchmarks.intervals [--repetitions 200] [--only NAME] [--out benchmarks/results]

Half an hour on one core. `--only` prints the rows of scenarios whose name contains NAME and writes nothing.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine_facts
from ganlib.config import GateFigure
from ganlib.metrics.estimates import Interval
from ganlib.metrics.extractors import Features
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.intervals import Confidence, Sample, differences, intervals
from ganlib.metrics.labels import label_fidelity
from ganlib.metrics.neighbourhood import NAMES

RESULTS = Path(__file__).parent / "results"
CONFIDENCE = Confidence(level=0.95, neighbours=5, splits=40, seed=0)
# Figures whose truth is the mean over samples of the same sizes; the others' is that of the distributions.
METRICS: tuple[GateFigure, ...] = (*(m for m in get_args(GateFigure) if m not in NAMES), *NAMES)
CONDITIONAL: tuple[GateFigure, ...] = ("is", "label_fidelity", "diversity")
LARGE = 400_000
# A figure that moves by a smaller share of itself has no chance in it, only rounding.
CHANCE = 1e-4
# Repetitions of the figures in closed form for each one of those of neighbours, which cost more.
CHEAPER = 2
EXPLANATION = """\
Each cell: percent of the {level:.0f} % intervals that hold the truth (that lie wholly below it, wholly
above it), of {repetitions} repetitions for the figures of neighbours (standard error of 95 %: {neighbours:.1f} %) and
{cheap} for the others ({closed:.1f} %). `*`: outside of 93 to 97 %, `**`: by more than two standard errors. An
interval of a figure at the edge of its range can miss to one side only, so that 97.5 % is right: FID and KID of equal
distributions, differences aside. A cell is empty where the figure does not apply or chance does not move it.

Samples are fresh in every repetition. The truth of FID, KID and diversity is in closed form, that of IS and label
fidelity a sample of {large} images of its own, that of the figures of neighbours the mean of all repetitions: they are
defined for samples of their sizes. {k} neighbours, {splits} halvings.

Modes by chance: an image's class is drawn; of fixed sizes: so many images of each class, told to the metrics as strata.
The scenarios "held out" had no part in the choice of the intervals, but for IS: its last change was made after a look
at its whole column."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    """Gaussian modes, one for each class; images of one side.

    Attributes:
        count: images drawn.
        middles: [K, D].
        scales: standard deviation of each mode, [K].
        weights: [K], of sum 1.
        stratified: of each mode a fixed number of images, not one by chance.
        anchors: where the classifier believes the modes to be, [K, D]; the real ones for both sides.
    """

    count: int
    middles: Array
    scales: Array
    weights: Array
    stratified: bool
    anchors: Array

    def sample(self, draw: np.random.Generator, count: int | None = None) -> Sample:
        """Fresh images, `count` in place of the usual number."""
        count = self.count if count is None else count
        modes = len(self.weights)
        if self.stratified:
            labels = np.repeat(np.arange(modes), np.round(self.weights * count).astype(int))
        else:
            labels = draw.choice(modes, size=count, p=self.weights)
        noise = draw.normal(size=(len(labels), self.middles.shape[1]))
        values = self.middles[labels] + self.scales[labels, None] * noise
        logits = values @ self.anchors.T - np.square(self.anchors).sum(axis=1) / 2
        parts = (torch.from_numpy(part).float() for part in (values, logits))
        return Sample(Features(*parts), torch.from_numpy(labels), self.stratified)

    @property
    def moments(self) -> tuple[Array, Array]:
        """Mean [D] and covariance [D, D]."""
        mean = self.weights @ self.middles
        away = self.middles - mean
        within = float(self.weights @ np.square(self.scales))
        return mean, (away.T * self.weights) @ away + within * np.eye(len(mean))

    def kernel(self, other: "Mixture") -> float:
        """Mean of (x·y / D + 1)³ over independent images of both: moments of x·y for each pair of modes."""
        dimensions = self.middles.shape[1]
        a, b, s, t = self.middles, other.middles, np.square(self.scales)[:, None], np.square(other.scales)
        inner, a_norm, b_norm = a @ b.T, np.square(a).sum(axis=1)[:, None], np.square(b).sum(axis=1)
        second = np.square(inner) + s * b_norm + t * (a_norm + s * dimensions)
        third = inner**3 + 3 * inner * (s * b_norm + t * (a_norm + s * (dimensions + 2)))
        cubes = third / dimensions**3 + 3 * second / dimensions**2 + 3 * inner / dimensions + 1
        return float(self.weights @ cubes @ other.weights)


@dataclass(frozen=True)
class Scenario:
    """What is measured, and its truth.

    Attributes:
        name: for the table.
        generated, real: both sides.
        champion: another generator; the difference of the two is measured as well.
    """

    name: str
    generated: Mixture
    real: Mixture
    champion: Mixture | None = None

    @property
    def sizes(self) -> str:
        """Images of both sides, and features."""
        return f"{self.generated.count} v {self.real.count}, {self.real.middles.shape[1]} d"

    @property
    def equal(self) -> bool:
        """Whether the champion is such a generator too."""
        one, other = self.generated, self.champion
        return other is not None and all(
            np.array_equal(getattr(one, name), getattr(other, name)) for name in ("middles", "scales", "weights")
        )

    @cached_property
    def metrics(self) -> list[GateFigure]:
        """All that apply; one class has no score, no right label and nothing within classes that FID does not see."""
        return [metric for metric in METRICS if len(self.real.weights) > 1 or metric not in CONDITIONAL]


def truths(generated: Mixture, real: Mixture) -> dict[str, float]:
    """Of all figures but those of neighbours: in closed form, IS and label fidelity by a large sample of their own."""
    (mean, covariance), (real_mean, real_covariance) = generated.moments, real.moments
    roots = np.sqrt(np.linalg.eigvals(covariance @ real_covariance).real.clip(0))
    found = {
        "fid": float(np.square(mean - real_mean).sum() + np.trace(covariance + real_covariance) - 2 * roots.sum()),
        "kid": generated.kernel(generated) + real.kernel(real) - 2 * generated.kernel(real),
    }
    # Equal sides leave rounding of either sign.
    found = {name: max(distance, 0.0) for name, distance in found.items()}
    if len(real.weights) > 1:
        large = generated.sample(np.random.default_rng(1), LARGE)
        assert large.labels is not None
        found["is"] = inception_score(large.features.logits, splits=1, seed=0)
        found["label_fidelity"] = label_fidelity(large.features.logits, large.labels)
        # The mean distance within an even Gaussian is a multiple of its scale.
        found["diversity"] = float(generated.scales.mean() / real.scales.mean())
    return found


def measure(scenario: Scenario, repetitions: int) -> Iterator[tuple[str, str, Array, float]]:
    """The intervals [repetitions, 3] (estimate, low, high) of each figure, with the truth."""
    alone: dict[str, list[Interval]] = {metric: [] for metric in scenario.metrics}
    apart: dict[str, list[Interval]] = {metric: [] for metric in scenario.metrics}
    for repetition in range(CHEAPER * repetitions):
        draws = [np.random.default_rng([repetition, side]) for side in range(3)]
        generated, real = scenario.generated.sample(draws[0]), scenario.real.sample(draws[1])
        wanted = [metric for metric in scenario.metrics if metric not in NAMES or repetition < repetitions]
        for metric, one in intervals(generated, real, wanted, CONFIDENCE).items():
            alone[metric].append(one)
        if scenario.champion is not None:
            champion = scenario.champion.sample(draws[2])
            for metric, one in differences(generated, champion, real, wanted, CONFIDENCE).items():
                apart[metric].append(one)
    known = [truths(model, scenario.real) for model in (scenario.generated, scenario.champion) if model is not None]
    for kind, found in (("alone", alone), ("difference", apart)):
        for metric, each in found.items():
            if not each:
                continue
            ends = np.array([(one.estimate, one.low, one.high) for one in each])
            if metric in NAMES:
                truth = float(ends[:, 0].mean())
            else:
                truth = known[0][metric] - (known[1][metric] if kind == "difference" else 0.0)
            if kind == "difference" and scenario.equal:
                truth = 0.0
            yield kind, metric, ends, truth


def gaussian(count: int, dimensions: int, *, shift: float = 0.0, scale: float = 1.0) -> Mixture:
    """One mode, moved by `shift` in every direction."""
    return modes(count, np.zeros((1, dimensions)), shift=shift, scale=scale)


def modes(
    count: int,
    middles: Array,
    *,
    shift: float = 0.0,
    scale: float | tuple[float, ...] = 1.0,
    weights: tuple[float, ...] | None = None,
    stratified: bool = False,
) -> Mixture:
    """Modes around the middles, all moved by `shift` in every direction; even weights unless given."""
    number = len(middles)
    shares = np.full(number, 1 / number) if weights is None else np.array(weights)
    return Mixture(count, middles + shift, np.ones(number) * scale, shares, stratified, middles)


def places(number: int, dimensions: int, apart: float, seed: int) -> Array:
    """Middles of modes at random, some `apart` × √2 standard deviations from each other."""
    return apart * np.random.default_rng(seed).normal(size=(number, dimensions)) / sqrt(dimensions)


def scenarios() -> list[Scenario]:
    """The table. Those marked "held out" had no part in the choice of the intervals."""
    near, far, ten, close = places(4, 6, 6, 99), places(4, 16, 20, 1), places(10, 64, 8, 2), places(5, 16, 3, 5)
    pair, other, heavy = places(2, 16, 12, 3), places(8, 32, 10, 4), np.zeros((2, 16))
    tails, skew = (0.9, 0.1), (0.4, 0.3, 0.2, 0.1)
    return [
        Scenario("Gaussian, equal", gaussian(300, 6), gaussian(400, 6), gaussian(300, 6)),
        Scenario("Gaussian, shifted and wider", gaussian(300, 16, shift=0.2, scale=1.1), gaussian(400, 16)),
        Scenario("Gaussian, shifted", gaussian(300, 64, shift=0.15), gaussian(400, 64)),
        Scenario("Gaussian, a little different", gaussian(2000, 64, shift=0.05, scale=1.03), gaussian(500, 64)),
        Scenario("Gaussian, narrow", gaussian(500, 16, scale=0.7), gaussian(500, 16)),
        Scenario("Gaussian, wide", gaussian(400, 16, scale=1.4), gaussian(400, 16)),
        Scenario("all covered", gaussian(1200, 6), gaussian(400, 6)),
        Scenario(
            "near modes by chance",
            modes(300, near, shift=0.2, scale=1.1),
            modes(400, near),
            modes(300, near, shift=0.2, scale=1.1),
        ),
        Scenario(
            "overlapping modes, fixed sizes",
            modes(300, close, stratified=True, shift=0.2, scale=1.1),
            modes(400, close),
        ),
        Scenario("far modes by chance", modes(300, far), modes(400, far), modes(300, far)),
        Scenario("far modes, shifted", modes(300, far, shift=0.2, scale=1.1), modes(400, far)),
        Scenario("far modes, fixed sizes", modes(300, far, stratified=True), modes(400, far, stratified=True)),
        Scenario("two far modes, other shares", modes(500, pair, weights=(0.6, 0.4)), modes(400, pair)),
        Scenario("ten modes by chance", modes(2000, ten, scale=1.05), modes(500, ten)),
        Scenario("nearly all covered", gaussian(1000, 16, scale=1.05), gaussian(300, 16)),
        Scenario("held out: tails", modes(300, heavy, scale=(1, 3), weights=tails), gaussian(400, 16, scale=1.3)),
        Scenario(
            "held out: eight modes", modes(600, other, shift=0.1), modes(400, other), modes(600, other, scale=1.1)
        ),
        Scenario("held out: uneven modes", modes(300, near, weights=skew), modes(300, near, weights=skew)),
        Scenario("held out: fixed v chance", modes(600, far, stratified=True, scale=0.9), modes(400, far)),
        Scenario("held out: a lost mode", modes(300, far, weights=(0.3, 0.3, 0.4, 0.0)), modes(400, far)),
        Scenario("held out: few real", gaussian(6000, 6, shift=0.2, scale=1.1), gaussian(200, 6)),
        Scenario("held out: few generated", gaussian(200, 6, shift=0.2, scale=1.1), gaussian(6000, 6)),
    ]


def row(title: str, sizes: str, shown: dict[str, tuple[Array, float]]) -> str:
    """A line of the table: share of intervals that hold the truth, and those that lie wholly below and above it."""
    cells = []
    for metric in METRICS:
        if metric not in shown:
            cells.append("")
            continue
        ends, truth = shown[metric]
        below, above = float(np.mean(ends[:, 2] < truth)), float(np.mean(ends[:, 1] > truth))
        held = 1 - below - above
        error = sqrt(held * (1 - held) / len(ends))
        outside = round(max(0.93 - held, held - 0.97, 0.0), 9)
        mark = "**" if outside > 2 * error else "*" if outside > 0 else ""
        cells.append(f"{mark}{100 * held:.1f}{mark} ({100 * below:.1f}, {100 * above:.1f})")
    return "| " + " | ".join([title, sizes, *cells]) + " |"


def table(chosen: Iterable[Scenario], repetitions: int) -> Iterator[tuple[str, str]]:
    """The rows of each scenario, as they are done: what kind of interval, and the line."""
    for scenario in chosen:
        shown: dict[str, dict[str, tuple[Array, float]]] = {}
        for kind, metric, ends, truth in measure(scenario, repetitions):
            # What chance does not move needs no interval.
            if np.ptp(ends[:, 0]) > CHANCE * abs(truth):
                shown.setdefault(kind, {})[metric] = (ends, truth)
        for kind, figures in shown.items():
            yield kind, row(scenario.name, scenario.sizes, figures)


def main() -> int:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--only", help="scenarios whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [scenario for scenario in scenarios() if (options.only or "") in scenario.name]
    if not chosen:
        parser.error(f"--only {options.only}: found no such scenario; expected a part of one of {_names()}")
    rows: dict[str, list[str]] = {"alone": [], "difference": []}
    for kind, line in table(chosen, options.repetitions):
        print(line, flush=True)
        rows[kind].append(line)
    if options.only is None:
        command = f"python -m benchmarks.intervals --repetitions {options.repetitions}"
        facts = machine_facts("torch", "numpy", "scipy", command=command, **{"CPU s": round(time.process_time())})
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "intervals.md").write_text(render(facts, rows, options.repetitions), encoding="utf-8")
    return 0


def _names() -> list[str]:
    return [scenario.name for scenario in scenarios()]


def render(facts: dict[str, object], rows: dict[str, list[str]], repetitions: int) -> str:
    """The whole report, in Markdown."""
    listed = ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("kind", "date"))
    heading = "| " + " | ".join(["generated against real", "images, features", *METRICS]) + " |"
    rule = "|" + " --- |" * (2 + len(METRICS))
    explanation = EXPLANATION.format(
        level=100 * CONFIDENCE.level,
        repetitions=repetitions,
        neighbours=100 * sqrt(0.95 * 0.05 / repetitions),
        cheap=CHEAPER * repetitions,
        closed=100 * sqrt(0.95 * 0.05 / (CHEAPER * repetitions)),
        large=LARGE,
        k=CONFIDENCE.neighbours,
        splits=CONFIDENCE.splits,
    )
    lines = [f"# Intervals on {facts['kind']}, {facts['date']}", "", listed + ".", "", explanation]
    lines += ["", "## One generator", "", heading, rule, *rows["alone"]]
    lines += ["", "## Challenger less champion, on the same real images", "", heading, rule, *rows["difference"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
