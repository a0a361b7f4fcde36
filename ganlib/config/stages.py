"""The stages around the training: extractor, evaluation, registry, flow."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ganlib.config.base import ExtractorName, Options, PositiveInt, Seed


class ExtractorOptions(Options):
    """The classifier behind the `domain` features, and the Inception weights."""

    width: PositiveInt
    feature_dim: Annotated[int, Field(ge=2, strict=True)]
    total_images: PositiveInt
    batch_size: PositiveInt
    learning_rate: Annotated[float, Field(gt=0)]
    seed: Seed
    threads: PositiveInt
    inception_weights: str | None
    inception_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class EvaluateOptions(Options):
    """The final measurement: `repeats` independent draws of `samples` images."""

    extractor: ExtractorName
    seed: Seed
    threads: PositiveInt
    batch_size: PositiveInt
    samples: Annotated[int, Field(ge=2, strict=True)]
    repeats: PositiveInt
    kid_subsets: PositiveInt
    kid_subset_size: Annotated[int, Field(ge=2, strict=True)]
    is_splits: PositiveInt
    neighbours: PositiveInt

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        needs = {
            "kid_subset_size": self.kid_subset_size,
            "is_splits": self.is_splits,
            "neighbours": self.neighbours + 1,
        }
        for name, least in needs.items():
            if self.samples < least:
                raise ValueError(f"samples={self.samples} is fewer than {name} needs ({least}); raise samples")
        return self


Metric = Literal[
    "domain/fid", "domain/kid", "domain/is", "domain/precision", "domain/recall", "domain/coverage",
    "domain/label_fidelity", "inception/fid", "inception/kid", "inception/is", "inception/precision",
    "inception/recall", "inception/coverage",
]  # fmt: skip


class RegisterOptions(Options):
    """The gate: the metric, and by how much (in its own unit) it must be better."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    metric: Metric
    margin: Annotated[float, Field(ge=0)]


class TrackingOptions(Options):
    """Where runs are grouped in MLflow."""

    experiment: Annotated[str, Field(min_length=1)]


class FlowOptions(Options):
    """How Prefect drives the stages; changes no result.

    `timeout_s` are the seconds that each stage of dvc.yaml may take.
    """

    retries: Annotated[int, Field(ge=0, strict=True)]
    retry_delay_s: Annotated[int, Field(ge=0, strict=True)]
    timeout_s: dict[str, PositiveInt]
