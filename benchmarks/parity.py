"""Our values beside those of other packages, on the same images and on the same features."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.scorers import Case, rgb_batches, torch_fidelity_extractor
from ganlib.datasets.packed.reading import Split
from ganlib.metrics.extractors import Features
from ganlib.metrics.frechet import FrechetReference
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.kernel import kernel_distances
from ganlib.metrics.neighbourhood import Balls, measure_neighbourhood

SEED = 2020
NEIGHBOURS = 3
KID_SUBSETS, LARGEST_KID_SUBSET, IS_SPLITS = 100, 200, 10
THEIR_NAMES = {
    "fid": "frechet_inception_distance",
    "kid": "kernel_inception_distance_mean",
    "is": "inception_score_mean",
    "precision": "precision",
    "recall": "recall",
}


def parity(case: Case) -> dict[str, Any]:
    """Each figure of `calculate_metrics` and ours from the same images, and Fréchet distances from the same features.

    `their_features`: ours from the features that torch-fidelity's network gave, which shows the statistics alone.
    """
    warnings.filterwarnings("ignore")
    data, extractor = case.data, case.extractor()
    real, generated = (extractor.extract_all(split.batches()) for split in (data.train, data.test))
    theirs, (their_real, their_generated) = _torch_fidelity(case, data.train, data.test)
    mine, same = figures(generated, real), figures(their_generated, their_real)
    rows = {
        name: {
            "theirs": theirs[name],
            "ours": mine[name],
            "difference": _relative(mine[name], theirs[name]),
            "their_features": _relative(same[name], theirs[name]),
        }
        for name in THEIR_NAMES
    }
    return {"torch-fidelity": rows, "features": {name: _fed(mine, name, generated, real) for name in FED}}


def figures(generated: Features, real: Features) -> dict[str, float]:
    """Ours, as the evaluation computes its plain values."""
    balls = (Balls.of(side.values, NEIGHBOURS, side=name) for side, name in ((generated, "generated"), (real, "real")))
    near = measure_neighbourhood(*balls)
    sides = generated.values, real.values
    kid = kernel_distances(*sides, subsets=KID_SUBSETS, subset_size=_kid_subset(len(real)), seed=SEED)
    return {
        "fid": FrechetReference.of(real.values).distance_to(generated.values),
        "kid": float(kid.mean()),
        "is": inception_score(generated.logits, splits=IS_SPLITS, seed=SEED),
        "precision": near.precision,
        "recall": near.recall,
    }


class _Images(torch.utils.data.Dataset[Tensor]):
    """A split as torch-fidelity takes data sets: uint8 [3, H, W] each."""

    def __init__(self, split: Split) -> None:
        self.images = torch.cat(list(rgb_batches(split)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def _torch_fidelity(case: Case, real: Split, generated: Split) -> tuple[dict[str, float], tuple[Features, Features]]:
    """Its figures, and the features behind them."""
    from torch_fidelity import calculate_metrics
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    arguments = torch_fidelity_extractor(case)
    sides = _Images(real), _Images(generated)
    found = calculate_metrics(
        input1=sides[1], input2=sides[0], cuda=False, isc=True, fid=True, kid=True, prc=True,
        kid_subsets=KID_SUBSETS, kid_subset_size=_kid_subset(len(real)), isc_splits=IS_SPLITS,
        prc_neighborhood=NEIGHBOURS, rng_seed=SEED, cache=False, save_cpu_ram=True, verbose=False, **arguments,
    )  # fmt: skip
    name = arguments.pop("feature_extractor")
    kind = FEATURE_EXTRACTORS_REGISTRY[name]
    layers = [kind.get_default_feature_layer_for_metric(metric) for metric in ("fid", "isc")]
    network = kind(name, layers, **arguments)
    features = []
    for side in sides:
        with torch.inference_mode():
            parts = [network(part) for part in torch.split(side.images, 64)]
        features.append(Features(*(torch.cat(outputs) for outputs in zip(*parts, strict=True))))
    return {mine: float(found[their]) for mine, their in THEIR_NAMES.items()}, (features[0], features[1])


def _pytorch_fid(generated: Tensor, real: Tensor) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    sides = (values.double().numpy() for values in (generated, real))
    return float(
        calculate_frechet_distance(*(part for v in sides for part in (v.mean(axis=0), np.cov(v, rowvar=False))))
    )


def _clean_fid(generated: Tensor, real: Tensor) -> float:
    from cleanfid.fid import fid_from_feats

    return float(fid_from_feats(generated.numpy(), real.numpy()))


def _torchmetrics(generated: Tensor, real: Tensor) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = nn.Identity()
    network.num_features = real.shape[1]  # type: ignore[assignment]
    metric = FrechetInceptionDistance(feature=network)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


FED: dict[str, Callable[[Tensor, Tensor], float]] = {
    "pytorch-fid": _pytorch_fid, "clean-fid": _clean_fid, "torchmetrics": _torchmetrics,
}  # fmt: skip


def _fed(mine: dict[str, float], name: str, generated: Features, real: Features) -> dict[str, float]:
    theirs = FED[name](generated.values, real.values)
    return {"theirs": theirs, "ours": mine["fid"], "difference": _relative(mine["fid"], theirs)}


def _kid_subset(images: int) -> int:
    return min(LARGEST_KID_SUBSET, images // 2)


def _relative(mine: float, theirs: float) -> float:
    return abs(mine - theirs) / abs(theirs)
