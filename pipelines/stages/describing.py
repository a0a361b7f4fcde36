"""A training in a line and in a few parameters, for people who look at many."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import LOWER_IS_BETTER, RunConfig, TrainOptions
from ganlib.errors import UserError
from pipelines import paths
from pipelines.presets import known_presets, load_parameters
from pipelines.tracking.descriptions import reproduction
from pipelines.tracking.experiment import Experiment

MOST_PARAMETERS = 38  # that MLflow shows of a run, beside the two of its model; all are in its params.yaml
_ALWAYS = (
    "data.source",
    "data.image_size",
    "network.family",
    "network.conditional",
    "loss.objective",
    "loss.adversarial",
    "augmentation.critic.policy",
    "train.seed",
    "train.total_images",
    "train.batch_size",
    "train.precision",
    "train.device",
    "train.devices",
    "evaluate.extractor",
    "evaluate.samples",
)
# What the name says anyway.
_NAMED = {"network.family", "train.seed", "train.total_images"}
_MOST_NAMED = 2
# What makes another generator, and so belongs into the name.
_NAMING = ("data", "network", "loss", "augmentation", "train")
# What decides no figure: where runs and versions are kept, and how the work is spread.
_BESIDE = ("preprocess", "tracking", "flow", "register")


@dataclass(frozen=True)
class Description:
    """A run's name and the parameters that MLflow shows."""

    name: str
    params: Mapping[str, str]


def describe(config: RunConfig) -> Description:
    """What tells this training from others: seed, length, and what differs from the nearest preset."""
    values = dict(_flat(config.model_dump(mode="json", by_alias=True)))
    preset, differences = _nearest_preset(values)
    shown = {name: values[name] for name in _ALWAYS if name in values}
    shown |= {} if preset is None else {"preset": preset}
    for name in differences:
        if len(shown) < MOST_PARAMETERS:
            shown[name] = values[name]
    told = [name for name in differences if name not in _NAMED and name.partition(".")[0] in _NAMING]
    parts = [
        config.register_.model_name,
        config.network.family if config.loss.objective == "gan" else f"{config.network.family} {config.loss.objective}",
        f"seed {config.train.seed}",
        f"{_thousands(config.train.total_images)} images",
        *(f"{name.rpartition('.')[2]} {values[name]}" for name in told[:_MOST_NAMED]),
        *([f"{len(told) - _MOST_NAMED} more"] if len(told) > _MOST_NAMED else []),
    ]
    return Description(" · ".join(parts), shown)


def trained_note(name: str, commit: str | None, best: str) -> str:
    """What MLflow says of a run between the end of its training and the gate, in Markdown.

    Args:
        name: the run's, as `describe` gave it.
        commit: of the code; None where there is none.
        best: images shown and score of the snapshot that is kept.
    """
    lines = "\n".join(f"{command}  # {what}" for what, command in reproduction(commit))
    return (
        f"**Trained, not yet judged.** {name}. The generator is that of {best}. When it is registered, the gate's "
        f"verdict stands here.\n\n```\n{lines}\n```"
    )


def experiment_of(config: RunConfig) -> Experiment:
    """Where runs of a configuration are logged, and what they are compared by."""
    return Experiment(
        config.tracking.experiment,
        metric=config.register_.metric,
        greater_is_better=config.register_.figure not in LOWER_IS_BETTER,
        halfway_images=halfway_samples(config.train),
    )


def halfway_samples(options: TrainOptions) -> int:
    """Images shown when samples are drawn that is the nearest to half of the training, or the first time."""
    every = options.sample_every_images
    due = max(1, round(options.total_images / 2 / every)) * every
    return -(-due // options.images_per_iteration) * options.images_per_iteration


def _nearest_preset(values: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The preset that differs in the fewest parameters, and in which; none where the project has no presets."""
    best: tuple[str | None, list[str]] = (None, [])
    for preset in known_presets(Path()) if paths.PRESETS.is_dir() else ():
        try:
            config = load_parameters(preset.path)
        except UserError:
            continue  # a preset with a mistake is no obstacle to a training that does not use it
        theirs = dict(_flat(config.model_dump(mode="json", by_alias=True)))
        apart = [name for name in values if name.partition(".")[0] not in _BESIDE and values[name] != theirs.get(name)]
        if best[0] is None or len(apart) < len(best[1]):
            best = (preset.name, apart)
    return best


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _thousands(count: int) -> str:
    """`64k`, `1.5M`, `640`."""
    for size, suffix in ((1_000_000, "M"), (1_000, "k")):
        if count >= size and count % (size // 10) == 0:
            return f"{count / size:g}{suffix}"
    return str(count)
