"""The few figures that people compare runs by; the rest lies in a run's artifacts."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganlib.evaluation.record import Evaluation


EVALUATED = "eval"  # which sorts before the others
TRAINED = "training"
# Of each extractor's, by the name in the record.
_EVALUATED = frozenset({"fid", "coverage", "precision", "recall", "label_fidelity"})
# By the name that the training gives them.
_TRAINED = {
    "loss/critic": "loss/critic",
    "loss/generator": "loss/generator",
    "logits/real": f"{TRAINED}/logits_real",
    "logits/fake": f"{TRAINED}/logits_fake",
    "evidence/bound": "evidence/bound",
    "evidence/log_likelihood": "evidence/log_likelihood",
    "evidence/divergence": "evidence/divergence",
    "diversity": f"{TRAINED}/diversity",
    "augmentation/probability": f"{TRAINED}/augmentation_probability",
    "encoder/latents": f"{TRAINED}/encoder_latents",
    "encoder/pixels": f"{TRAINED}/encoder_pixels",
    "encoder/features": f"{TRAINED}/encoder_features",
    "rollbacks": f"{TRAINED}/rollbacks",
    "speed/images_per_s": f"{TRAINED}/images_per_s",
}


def gate_key(metric: str) -> str:
    """What the gate compares, such as `domain/fid`, as a metric's name in MLflow: the estimate, free of bias."""
    return f"{EVALUATED}/{metric}_estimate"


def evaluated(evaluation: "Evaluation", gate_metric: str) -> dict[str, float]:
    """The figures of an evaluation that MLflow shows, with five digits; the record has all.

    `eval/domain/fid` is the value as papers report it. Of the gate's metric there are also `…_estimate`,
    free of the bias of few images, and the interval about it, `…_estimate_low` and `…_estimate_high`.
    """
    return {key: _rounded(value) for key, value in _evaluated(evaluation, gate_metric)}


def _evaluated(evaluation: "Evaluation", gate_metric: str) -> Iterator[tuple[str, float]]:
    for name, figure in evaluation.metrics.items():
        if name == gate_metric or name.rpartition("/")[2] in _EVALUATED:
            yield f"{EVALUATED}/{name}", figure.value
    gated = evaluation.metrics.get(gate_metric)
    if gated is not None:
        sure, key = gated.interval, gate_key(gate_metric)
        yield key, gated.value if sure is None else sure.estimate
        if sure is not None:
            yield f"{key}_low", sure.low
            yield f"{key}_high", sure.high


def trained(values: Mapping[str, float]) -> dict[str, float]:
    """The figures of a training that MLflow shows, with five digits; `curves.csv` has all of them."""
    names = {name: _TRAINED.get(name, f"{TRAINED}/{name}" if name.endswith("/fid") else None) for name in values}
    return {shown: _rounded(values[name]) for name, shown in names.items() if shown is not None}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
