"""Quality per compute: the Fréchet distance that each recipe reaches after the same number of images.

    python -m benchmarks.quality RECIPE... [--images 64000] [--seeds 0 1 2] [--threads 1] [--name digits]

Run it in a project whose `extractor` stage has run: that one's data and
domain features are the judge. A recipe is a parameters file, such as
`presets/cifar10-dcgan.yaml`, or `digits:FAMILY`, a family scaled to the digits.
Schedules are squeezed into the run. The last average is scored, not the best.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import PackedData, Split, open_packed
from ganlib.metrics.extractors import Extractor, load_domain_extractor
from ganlib.metrics.frechet import FeatureStatistics, frechet_distance
from ganlib.sampling import proportional_labels, render, seeded_latents
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.iteration import Iteration, take_mean_figures
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from pipelines.presets import load_parameters

SAMPLES, BATCH = 2000, 250
RESULTS = Path(__file__).parent / "results"
RELATIVISTIC = {"adversarial": "relativistic", "r1": 0.3, "r2": 0.3, "rate": 1e-3, "critic_rate": 1e-3}
DIGITS: dict[str, dict[str, Any]] = {
    "dcgan": {},
    "mlp": {
        "network": {
            "family": "mlp", "conditional": True, "latent_dim": 100, "generator_widths": [128, 256],
            "critic_widths": [256, 128], "critic_dropout": 0.0, "embedding_dim": 32,
        },
        "adversarial": "non_saturating", "rate": 4e-4, "critic_rate": 4e-4, "beta1": 0.5, "beta2": 0.999,
    },
    "resnet": {
        "network": {
            "family": "resnet", "conditional": True, "latent_dim": 64, "generator_widths": [48, 48, 48],
            "critic_widths": [48, 48, 48], "critic_halvings": 2, "upsampling": "bilinear", "critic_norm": "spectral",
        },
    },
    "biggan": {
        "network": {
            "family": "biggan", "conditional": True, "latent_dim": 60, "generator_widths": [48, 48, 48],
            "critic_widths": [48, 48, 48], "critic_halvings": 2, "embedding_dim": 32, "attention_size": 8,
        },
    },
    "r3gan": {
        "network": {
            "family": "r3gan", "conditional": True, "latent_dim": 64, "widths": [64, 32, 16], "blocks_per_stage": 1,
            "group_width": 8, "expansion": 2, "embedding_dim": 32,
        },
        **RELATIVISTIC,
    },
}  # fmt: skip


def recipe(name: str, *, images: int, seed: int, threads: int) -> RunConfig:
    """The configuration that a recipe's name stands for, of this length."""
    path = Path("presets/digits.yaml" if name.startswith("digits:") else name)
    values = load_parameters(path).model_dump(mode="json", by_alias=True)
    if name.startswith("digits:"):
        _change(values, DIGITS[name.removeprefix("digits:")])
    train = values["train"]
    _squeeze(values)
    train |= {"total_images": images, "seed": seed, "threads": threads, "device": "auto", "devices": 1}
    return RunConfig.model_validate(values)


def _change(values: dict[str, Any], changes: dict[str, Any]) -> None:
    train, loss = values["train"], values["loss"]
    values["network"] = changes.get("network", values["network"])
    loss["adversarial"] = changes.get("adversarial", loss["adversarial"])
    for name in ("r1", "r2"):
        loss[name]["weight"] = changes.get(name, 0.0)
    for network, key in (("generator", "rate"), ("critic", "critic_rate")):
        optimizer = train[f"{network}_optimizer"]
        optimizer["learning_rate"]["start"] = changes.get(key, optimizer["learning_rate"]["start"])
        optimizer |= {name: changes[name] for name in ("beta1", "beta2") if name in changes}


def _squeeze(values: Any) -> None:
    for value in values.values() if isinstance(values, dict) else ():
        if isinstance(value, dict) and "over_images" in value:
            value["over_images"] = None
        _squeeze(value)


def score(config: RunConfig, data: PackedData, extractor: Extractor) -> dict[str, float]:
    """Train and measure: distances to both splits, processor and wall seconds of the training."""
    device = prepare_device(config.train)
    state, described = initial_state(config, data.image, device), Recipe.of(config, data.image)
    feed = SplitFeed(data.train, described, ALONE, device)
    wall_s, processor_s = time.perf_counter(), time.process_time()
    iteration = Iteration(state, described, feed, ALONE)
    while state.seen_images < config.train.total_images:
        iteration.run()
    figures = dict(zip(state.figures, take_mean_figures(state, ALONE).tolist(), strict=True))
    wall_s, processor_s = time.perf_counter() - wall_s, time.process_time() - processor_s
    sides = {
        f"{split.name}_fid": frechet_distance(_generated(config, split, state.ema, extractor), _of(split, extractor))
        for split in (data.test, data.train)
    }
    return {
        **sides,
        "cpu_s": processor_s,
        "wall_s": wall_s,
        "loss/critic": figures["loss/critic"],
    }


def _generated(config: RunConfig, split: Split, generator: Any, extractor: Extractor) -> FeatureStatistics:
    """Of images in the class shares of the split that they are compared with."""
    latents = seeded_latents(SAMPLES, config.network.latent_dim, 0)
    labels = None
    if config.network.conditional:
        assert split.labels is not None
        labels = proportional_labels(SAMPLES, np.bincount(split.labels, minlength=generator.num_classes))
    images = render(generator, latents, labels, batch_size=BATCH)
    pieces = (images[start : start + BATCH] for start in range(0, SAMPLES, BATCH))
    return FeatureStatistics.of(extractor.extract_all(pieces).values)


def _of(split: Split, extractor: Extractor) -> FeatureStatistics:
    pieces = (split.take(each) for each in np.array_split(np.arange(len(split)), -(-len(split) // BATCH)))
    return FeatureStatistics.of(extractor.extract_all(pieces).values)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipes", nargs="+", help="a parameters file, or digits:FAMILY")
    parser.add_argument("--images", type=int, default=64000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="digits")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    data = open_packed(Path("data/processed"))
    extractor = load_domain_extractor(Path("models/extractor"), torch.device("cpu"))
    floor = frechet_distance(_of(data.train, extractor), _of(data.test, extractor))
    rows = []
    for name in options.recipes:
        for seed in options.seeds:
            config = recipe(name, images=options.images, seed=seed, threads=options.threads)
            rows.append({"recipe": name, "seed": seed, **score(config, data, extractor)})
            print({key: round(v, 3) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    _write(options, floor, rows)


def _write(options: argparse.Namespace, floor: float, rows: list[dict[str, Any]]) -> None:
    surroundings = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": options.threads,
        "images": options.images,
        "samples": SAMPLES,
        "floor": floor,
    }
    lines = [
        f"# Fréchet distance on {options.name} after {options.images} images",
        "",
        f"{SAMPLES} images of the last average on the domain features, squeezed schedules, torch {torch.__version__}, "
        f"{options.threads} thread(s), {surroundings['date']}. Real training split to held-out split: {floor:.2f}.",
        "",
        "| recipe | to the held-out split, by seed | median | to the training split, median | CPU s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(row["recipe"] for row in rows):
        mine = [row for row in rows if row["recipe"] == name]
        scores = [row["test_fid"] for row in mine]
        train = statistics.median(row["train_fid"] for row in mine)
        cpu = statistics.median(row["cpu_s"] for row in mine)
        listed = ", ".join(f"{each:.2f}" for each in scores)
        lines.append(f"| {name} | {listed} | {statistics.median(scores):.2f} | {train:.2f} | {cpu:.0f} |")
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"quality-{options.name}"
    target.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    target.with_suffix(".json").write_text(
        json.dumps({**surroundings, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
