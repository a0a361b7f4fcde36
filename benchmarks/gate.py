"""How often the gate errs: equal generators promoted, improvements overlooked, guards that trip or do not.

    python -m benchmarks.gate [--pairs 100] [--out benchmarks/results]

Run it in a project with labelled data whose stages have run: that one's generator, data, extractor and parameters are
used. `benchmarks.gate_contests` says what a contest is.
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gate_contests import POOL, SPLITS, Contest, Fault, Pool, World, contests
from benchmarks.machine import machine_facts
from ganlib.evaluation.record import Copying
from ganlib.metrics.frechet import FeatureStatistics, frechet_distance
from ganlib.metrics.memorisation import TrainingSet, measure_memorisation
from pipelines.registry.gate import near_copies

RESULTS = Path(__file__).parent / "results"
SAMPLES, GUARD_SAMPLES, STAND_INS = 5000, 2000, 5000
# Images of each side, and generated ones in the place of real held-out ones.
GROUNDS = ((SAMPLES, 0), (20_000, 0), (SAMPLES, STAND_INS))
GAINS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
COPIES = (0.0, 0.01, 0.02, 0.03, 0.05)
PAIRS_PER_GAIN, PAIRS_PER_FAULT = 50, 15

EXPLANATION = f"""\
A contest is `compare` and `decide` as the register stage calls them, with the confidence and the limits of
`params.yaml` and {SPLITS} halvings behind the interval of coverage. Its draws are disjoint parts of {POOL} images of
one generator, as many of each class; its held-out images are a fresh part of all real images, of the size of the test
split, so that the chance on both sides is in it. Where so it says, other images of the generator stand in for them."""


def equal_metric(world: World, pairs: int) -> list[dict[str, Any]]:
    """The metric alone, of two draws from one generator: promotions, and whether intervals hold the true zero."""
    rows = []
    for samples, stand_ins in GROUNDS:
        found = list(contests(world, pairs, samples, guards=False, stand_ins=stand_ins))
        apart = [each.metric.difference for each in found]
        rows.append(
            {
                "samples": samples,
                "ground": _ground(world, stand_ins),
                "pairs": pairs,
                "promoted": _promoted(found),
                "holds": _share(each.low <= 0 <= each.high for each in apart),
                "half_interval": statistics.mean((each.high - each.low) / 2 for each in apart),
                "deviation": statistics.stdev(each.estimate for each in apart),
            }
        )
    return rows


def equal_gate(world: World, pairs: int) -> dict[str, Any]:
    """The whole gate, of two draws from one generator."""
    found = list(contests(world, pairs, GUARD_SAMPLES, guards=True))
    return {"challenger": "equal", "pairs": pairs, **_outcomes(found)}


def power(world: World) -> list[dict[str, Any]]:
    """Promotions of a clean generator over one with a share of blurred images."""
    rows = []
    for stand_ins in (0, STAND_INS):
        for gain in GAINS:
            blurred = _share_for(world, gain, stand_ins)
            champion = _blur(world, blurred)
            found = list(contests(world, PAIRS_PER_GAIN, SAMPLES, guards=False, stand_ins=stand_ins, champion=champion))
            row = {"ground": _ground(world, stand_ins), "gain": gain, "blurred": blurred, "pairs": PAIRS_PER_GAIN}
            rows.append(row | {"promoted": _promoted(found)})
    return rows


def _ground(world: World, stand_ins: int) -> str:
    return f"{stand_ins} generated" if stand_ins else f"{len(world.reference.test)} real"


def faults(world: World) -> list[dict[str, Any]]:
    """Verdicts on challengers with a planted fault, against the same generator without."""
    planted: dict[str, Fault] = {
        "one class shows 10 images only": _collapse(world, images=10, classes=1),
        "every class shows 10 images only": _collapse(world, images=10, classes=world.reference.data.image.num_classes),
        "3 % of the images are of the next class": _mislabel(0.03),
    }
    rows = []
    for name, fault in planted.items():
        found = list(contests(world, PAIRS_PER_FAULT, GUARD_SAMPLES, guards=True, challenger=fault))
        rows.append({"challenger": name, "pairs": PAIRS_PER_FAULT, **_outcomes(found)})
    return rows


def copies(world: World) -> list[dict[str, Any]]:
    """How often a share of copied training images is found at the gate's confidence, and stops at its limit."""
    options = world.config.register_
    limit = options.guards.memorised_share
    count = len(world.reference.train)
    train, test = world.real.rows(torch.arange(count)), world.real.rows(torch.arange(count, len(world.real_labels)))
    spaces: dict[str, Callable[[Pool], Tensor]] = {
        "features": lambda pool: pool.features.values,
        "pixels": lambda pool: pool.pixels,
    }
    known = {name: TrainingSet.of(of(train)) for name, of in spaces.items()}
    exact = {name: known[name].closeness(of(train)) for name, of in spaces.items()}
    rows = []
    for copied in COPIES:
        found: Counter[str] = Counter()
        stopped: Counter[str] = Counter()
        for seed in range(PAIRS_PER_FAULT):
            random = np.random.default_rng([seed, 1])
            made = world.clean.rows(torch.from_numpy(random.permutation(POOL)[:SAMPLES]))
            from_training = train.rows(torch.from_numpy(random.integers(count, size=SAMPLES)))
            made = made.mixed(from_training, torch.arange(SAMPLES) < copied * SAMPLES)
            for name, of in spaces.items():
                one, other = (known[name].closeness(of(side)) for side in (made, test))
                level = world.config.evaluate.confidence
                measured = measure_memorisation(
                    one, other, exact[name], twins=other.distance == 0, level=level, suspects=1, seed=seed
                )
                copying = Copying.of(measured)
                (row,) = near_copies(options, {name: copying})
                found[name] += copying.p_value < 1 - options.confidence
                stopped[name] += row.passed is False
        shares = {
            name: {"found": found[name] / PAIRS_PER_FAULT, "stopped": stopped[name] / PAIRS_PER_FAULT}
            for name in spaces
        }
        rows.append({"copied": copied, "limit": limit, "draws": PAIRS_PER_FAULT, **shares})
    return rows


def _outcomes(found: list[Contest]) -> dict[str, Any]:
    """Promotions by margin; of each guard the share of contests it stopped or would have but for chance."""
    stopped: Counter[str] = Counter()
    unsure: Counter[str] = Counter()
    for each in found:
        verdict = each.verdicts[max(each.verdicts)]
        for row in verdict.table[1:]:
            name = row.name.partition(" (")[0]
            stopped[name] += row.passed is False
            unsure[name] += row.note.endswith("chance")
    return {
        "promoted": _promoted(found),
        "stopped": {name: count / len(found) for name, count in stopped.items()},
        "unsure": {name: count / len(found) for name, count in unsure.items()},
    }


def _promoted(found: list[Contest]) -> dict[float, float]:
    """The share of contests won, by margin."""
    return {margin: _share(each.verdicts[margin].promoted for each in found) for margin in found[0].verdicts}


def _share(happened: Iterable[bool]) -> float:
    return statistics.mean(float(each) for each in happened)


def _blur(world: World, part: float) -> Fault:
    def fault(pool: Pool, rows: Tensor, random: np.random.Generator) -> Pool:
        return pool.mixed(world.blurred.rows(rows), torch.from_numpy(random.random(len(rows)) < part))

    return fault


def _share_for(world: World, gain: float, stand_ins: int) -> float:
    """The share of blurred images that makes the distance larger by so much, found on the whole pool."""
    order = torch.from_numpy(np.random.default_rng(0).random(POOL))
    held_out = world.clean if stand_ins else world.real

    def distance(part: float) -> float:
        values = world.clean.mixed(world.blurred, order < part).features.values
        return frechet_distance(FeatureStatistics.of(values), FeatureStatistics.of(held_out.features.values))

    clean, low, high = distance(0.0), 0.0, 1.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if distance(middle) - clean < gain else (low, middle)
    return (low + high) / 2


def _collapse(world: World, *, images: int, classes: int) -> Fault:
    def fault(pool: Pool, rows: Tensor, random: np.random.Generator) -> Pool:
        chosen = torch.arange(len(rows))
        for label in range(classes):
            members = torch.nonzero(world.labels[rows] == label)[:, 0]
            chosen[members] = members[torch.from_numpy(random.integers(images, size=len(members)))]
        return pool.rows(chosen)

    return fault


def _mislabel(part: float) -> Fault:
    def fault(pool: Pool, rows: Tensor, random: np.random.Generator) -> Pool:
        # Rows go through the classes in turn: the next row is of the next class.
        following = pool.rows(torch.arange(len(rows)).roll(-1))
        return pool.mixed(following, torch.from_numpy(random.random(len(rows)) < part))

    return fault


def render(results: dict[str, Any]) -> str:
    """The report, in Markdown."""
    machine = results["machine"]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in ("kind", "date"))
    parts = (_equal_table, _power_table, _gate_table, _copies_table)
    lines = [f"# The gate on {machine['kind']}, {machine['date']}", "", f"{facts}.", "", EXPLANATION]
    for part in parts:
        lines += ["", *part(results)]
    return "\n".join(lines) + "\n"


def _equal_table(results: dict[str, Any]) -> Iterator[str]:
    rows = results["equal metric"]
    yield from (f"## Equal generators, {results['metric']} alone, {rows[0]['pairs']} pairs", "")
    header = ["images of each", "held-out images", *_margins(results), "intervals that hold 0", "mean half-interval"]
    yield from _table(
        [*header, "deviation"],
        (
            [
                row["samples"],
                row["ground"],
                *map(_percent, row["promoted"].values()),
                _percent(row["holds"]),
                f"{row['half_interval']:.3f}",
                f"{row['deviation']:.3f}",
            ]
            for row in rows
        ),
    )


def _power_table(results: dict[str, Any]) -> Iterator[str]:
    rows = results["power"]
    yield from (f"## A better generator, {results['metric']} alone, {rows[0]['pairs']} pairs each", "")
    yield f"{SAMPLES} images of each; the champion's have a share of blurred ones, found by bisection on the pool."
    yield ""
    yield from _table(
        ["held-out images", "better by", "blurred", *_margins(results)],
        (
            [row["ground"], row["gain"], _percent(row["blurred"]), *map(_percent, row["promoted"].values())]
            for row in rows
        ),
    )


def _gate_table(results: dict[str, Any]) -> Iterator[str]:
    yield from ("## The whole gate with its guards", "")
    yield (
        f"{GUARD_SAMPLES} images of each, real held-out ones. A guard's cell says how often it stopped the challenger, "
        "and in brackets how often it saw the limit passed but not surely."
    )
    yield ""
    guards = list(results["gate"][0]["stopped"])
    yield from _table(
        ["challenger", "pairs", *_margins(results), *guards],
        (
            [row["challenger"], row["pairs"], *map(_percent, row["promoted"].values())]
            + [f"{_percent(row['stopped'][name])} ({_percent(row['unsure'][name])})" for name in guards]
            for row in results["gate"]
        ),
    )


def _copies_table(results: dict[str, Any]) -> Iterator[str]:
    rows = results["copies"]
    yield from (
        f"## Copied training images, limit {_percent(rows[0]['limit'])}, {rows[0]['draws']} draws of {SAMPLES} each",
        "",
    )
    yield from _table(
        ["copied", *(f"{what} by {name}" for name in ("features", "pixels") for what in ("found", "stopped"))],
        (
            [_percent(row["copied"])]
            + [_percent(row[name][what]) for name in ("features", "pixels") for what in ("found", "stopped")]
            for row in rows
        ),
    )


def _margins(results: dict[str, Any]) -> list[str]:
    return [f"promoted, margin {margin}" for margin in results["gate"][0]["promoted"]]


def _table(header: list[str], rows: Iterable[list[Any]]) -> Iterator[str]:
    for cells in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(map(str, cells))} |"


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    started_s = time.process_time()
    world = World.open()
    results: dict[str, Any] = {
        "metric": world.config.register_.metric,
        "register": world.config.register_.model_dump(mode="json"),
        "equal metric": equal_metric(world, options.pairs),
        "power": power(world),
        "gate": [equal_gate(world, options.pairs), *faults(world)],
        "copies": copies(world),
    }
    results["machine"] = machine_facts(
        "torch",
        "numpy",
        command=f"python -m benchmarks.gate --pairs {options.pairs}",
        **{"CPU s": round(time.process_time() - started_s)},
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gate.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = render(results)
    (options.out / "gate.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
