"""What the stages leave behind, made up: a project folder from which a report and a model card can be written."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from ganlib.config import ImageSpec, RunConfig, load_config
from ganlib.datasets.packed.manifest import Manifest, SplitSummary
from ganlib.evaluation.record import (
    FORMAT_VERSION,
    BothSplits,
    ClassFigures,
    Copying,
    Evaluation,
    Figure,
    Interval,
    Reconstruction,
    Rejection,
    Suspect,
    TruncationPoint,
)
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.sampling import image_grid
from pipelines import paths
from pipelines.registry.verdict import Registration, Row, Verdict
from pipelines.report.facts import Facts, gather
from tests import evaluations
from tests.configs import tiny_values

LINEAGE = {
    "data_sha256": "d" * 64,
    "params_sha256": "a" * 64,
    "git_commit": "c0ffee" * 6 + "c0ff",
    "git_dirty": "false",
}
DIGITS = tuple("0123456789")
CONDITIONS = evaluations.CONDITIONS.model_copy(update={"reference_count": 540, "generated_count": 5000})


def make_project(root: Path, classes: Sequence[str] = DIGITS, changes: Mapping[str, Any] | None = None) -> Path:
    """A folder with all that `gather` reads; without classes an unconditional generator."""
    values = tiny_values({"network.conditional": bool(classes)} | dict(changes or {}))
    for folder in (paths.REPORTS, paths.PICTURES, paths.PROCESSED):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / paths.PARAMS).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    image = ImageSpec(size=16, channels=1, classes=tuple(classes))
    config = RunConfig.model_validate(values)
    torch.manual_seed(0)
    provenance = {"seen_images": 128000, "score": {"metric": "domain/fid", "reference": "train", "value": 1.6227}}
    generator = ImageGenerator(build_generator(config.network, image), config.network, image, provenance)
    generator.save(root / paths.GENERATOR)
    manifest(image, config).write(root / paths.PROCESSED)
    evaluation(classes, generator_sha256(root / paths.GENERATOR)).write(root / paths.EVALUATION)
    accuracies = {"train_accuracy": 1.0, "test_accuracy": 0.9908} if classes else {}
    (root / paths.EXTRACTOR_REPORT).write_text(json.dumps({"classifier": accuracies}), encoding="utf-8")
    write_logs(root)
    write_pictures(root, generator)
    return root


def write_logs(root: Path) -> None:
    rows = [
        f"{1280 * i},{1.5 * math.exp(-i / 60) + 0.4:.6f},{0.2 + i / 150:.6f},{1 / i:.6f},{-1 / i:.6f}"
        for i in range(1, 101)
    ]
    (root / paths.CURVES).write_text(
        "\n".join(["seen_images,loss/critic,loss/generator,logits/real,logits/fake", *rows, "129280,nan,,0,0"]) + "\n"
    )
    (root / paths.SNAPSHOTS).write_text(
        "seen_images,fid\n" + "".join(f"{12800 * i},{100 / i**2}\n" for i in range(1, 11))
    )


def write_pictures(root: Path, generator: ImageGenerator) -> None:
    grid = image_grid(generator.sample(seed=0, count=100), columns=10, scale=2).squeeze(-1)
    for path in (paths.SAMPLES, paths.NEAR_COPIES, paths.TRUNCATION, paths.INTERPOLATION, paths.TRAINING_SAMPLES):
        Image.fromarray(grid).save(root / path)
    Image.fromarray(np.concatenate([grid, grid], axis=1)).save(root / paths.REAL_AND_GENERATED)
    first, second = Image.fromarray(grid[:32]), Image.fromarray(grid[34:66])
    first.save(root / paths.ANIMATION, save_all=True, append_images=[second], duration=80, loop=0, lossless=True)


def manifest(image: ImageSpec, config: RunConfig) -> Manifest:
    def split(images: int, digest: str) -> SplitSummary:
        shared = {name: images // len(image.classes) for name in image.classes}
        return SplitSummary(
            images=images, shards=(images,), per_class=shared, digest=digest * 64, pixel_mean=(70.0,), pixel_std=(80.0,)
        )

    return Manifest(
        format_version=3,
        paired=False,
        image=image,
        fit="crop",
        resizer="bicubic",
        cleaning=config.data.cleaning,
        versions={"pillow": "13.0.0"},
        source_digest="e" * 64,
        files=1797,
        dropped=3,
        cases={"near_duplicate": {"keep": 22}, "truncated": {"drop": 3}},
        train=split(1250, "1"),
        test=split(540, "2"),
    )


def interval(estimate: float, half: float, level: float = 0.95) -> Interval:
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, level=level)


def evaluation(classes: Sequence[str], sha256: str, *, shift: float = 0.0) -> Evaluation:
    """Figures of a plausible generator of digits; `shift` is added to its distances."""
    found = {
        "fid": _figure(3.5209 + shift, interval(1.3812 + shift, 0.1673)),
        "kid": _figure(0.0123, interval(0.0119, 0.0041)),
        "is": _figure(9.7284, interval(9.7284, 0.0213)),
        "precision": _figure(0.9712, interval(0.9712, 0.0087)),
        "recall": _figure(0.9431, interval(0.9431, 0.0121)),
        "density": _figure(1.0214, interval(1.0214, 0.0311)),
        "coverage": _figure(0.9963, interval(0.9941, 0.0052)),
        "diversity": _figure(0.9712, interval(0.9712, 0.0101)),
        "fid_infinity": _figure(3.2231 + shift, None),
        "fid_floor": _figure(3.1840, interval(0.0912, 0.1224), generated=1250),
        "label_fidelity": _figure(0.9981, interval(0.9981, 0.0014)),
        "path_length": _figure(214.13, interval(214.13, 18.2), generated=1000),
    }
    if not classes:
        del found["label_fidelity"], found["diversity"]
    return Evaluation(
        format_version=FORMAT_VERSION,
        generator_sha256=sha256,
        measured_on="f" * 64,
        alarms=(),
        metrics={f"domain/{name}": each for name, each in found.items()},
        skipped={"domain/accuracy_score": "accuracy_score: needs 60000 images, found 5000; raise evaluate.samples"},
        classes=tuple(_class(name, place, len(classes)) for place, name in enumerate(classes)),
        memorisation={"features": _copying(0.43, 0.0011, 40), "pixels": _copying(0.0004, 0.0127, 18)},
        truncation=tuple(
            TruncationPoint(
                psi=psi,
                figures={
                    "fid": 3.5 + 60 * (1 - psi) ** 2,
                    "precision": 1 - 0.03 * psi,
                    "recall": 0.94 * psi,
                    "coverage": psi,
                },
            )
            for psi in (0.4, 0.55, 0.7, 0.85, 1.0)
        ),
        rejection=Rejection(
            kept_share=0.5,
            count=2500,
            before={"fid": 3.61, "precision": 0.971, "recall": 0.943},
            after={"fid": 3.42, "precision": 0.982, "recall": 0.931},
        ),
        translation=None,
        reconstruction=Reconstruction(
            held_out=100,
            training=100,
            psnr=_both(29.012, 31.523, 0.431),
            ssim=_both(0.9861, 0.9912, 0.0021),
            distance=_both(0.0531, 0.0412, 0.0063),
        ),
    )


def _both(held_out: float, training: float, half: float) -> BothSplits:
    return BothSplits(
        held_out=interval(held_out, half),
        training=interval(training, half),
        difference=interval(training - held_out, 1.4 * half),
    )


def registration(sha256: str, *, promoted: bool, reason: str = "Better by 0.91.", name: str = "digits") -> Registration:
    """A verdict over a champion, with a guard that failed unless it was promoted."""
    table = (
        Row(
            name="domain/fid",
            challenger=3.5209,
            champion=4.4309,
            difference=interval(-0.9134, 0.3218, 0.9),
            limit=-0.05,
            passed=True,
            note="At least 0.05 lower with 95% confidence.",
        ),
        Row(
            name="coverage",
            challenger=0.9963,
            champion=0.9951,
            difference=interval(0.0012, 0.0063, 0.9),
            limit=-0.03,
            passed=True,
            note="No more than 0.03 lower.",
        ),
        Row(
            name="worst class (8)",
            challenger=1.9,
            champion=2.2,
            difference=interval(-0.3, 0.9, 0.9),
            limit=1.0,
            passed=promoted,
            note="The champion's worst class was 3.",
        ),
        Row(
            name="label fidelity",
            challenger=None,
            champion=None,
            difference=None,
            limit=None,
            passed=None,
            note="Switched off.",
        ),
    )
    return Registration(
        model_name=name,
        version="7",
        aliases=("challenger", "champion") if promoted else ("challenger",),
        metric="domain/fid",
        margin=0.05,
        confidence=0.95,
        champion_version="6",
        remeasured=True,
        verdict=Verdict(promoted=promoted, reason=reason, table=table),
        generator_sha256=sha256,
    )


def _figure(value: float, found: Interval | None, generated: int = 5000) -> Figure:
    conditions = CONDITIONS.model_copy(update={"generated_count": generated})
    return Figure(value=value, interval=found, conditions=conditions)


def _class(name: str, place: int, count: int) -> ClassFigures:
    rare = place == count - 1
    return ClassFigures(
        name=name,
        generated=500,
        real=12 if rare else 54,
        fid=None if rare else 9.0 - place / 2,
        distance=None if rare else interval(2.1 - place / 5, 0.4),
        label_fidelity=interval(0.99, 0.008),
        diversity=None if rare else 0.97,
    )


def _copying(p_value: float, share: float, nearest: int, near_duplicates: int = 3) -> Copying:
    return Copying(
        p_value=p_value,
        share=interval(share, 0.0021),
        authenticity=interval(0.981, 0.004),
        held_out_authenticity=0.9741,
        copying=-0.42,
        near_duplicates=near_duplicates,
        held_out=540,
        suspects=(Suspect(generated=nearest, training=3, distance=1.1, ratio=0.31),),
    )


def gathered(project: Path, lineage: Mapping[str, str] = LINEAGE) -> Facts:
    """The facts of a project as it lies there."""
    return gather(project, load_config(project / paths.PARAMS), lineage)
