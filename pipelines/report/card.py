"""`reports/MODEL_CARD.md`: the model card, in the layout of the Hugging Face Hub."""

from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ganlib.config import GanOptions, kinds_of
from ganlib.evaluation.record import ClassFigures, Evaluation, Figure
from pipelines.report.facts import Facts
from pipelines.report.meanings import in_order, meaning
from pipelines.report.rendering import render, replace_text
from pipelines.report.rounding import estimate

# What the Hub calls making images of nothing but noise and a class (it has no name for classes alone), and of images.
TASK, TRANSLATION = "unconditional-image-generation", "image-to-image"
WORST_SHOWN = 3


def write_card(facts: Facts, version: str, path: Path) -> None:
    """Write the card of a registered version, replaced as a whole or not at all; the same facts give the same bytes."""
    metrics = facts.evaluation.metrics
    text = render(
        "MODEL_CARD.md.jinja",
        facts=facts,
        front_matter=yaml.safe_dump(_metadata(facts), sort_keys=False, allow_unicode=True, width=10_000),
        name=facts.config.register_.model_name,
        version=version,
        kinds=() if facts.generator.inputs is None else kinds_of(facts.generator.inputs),
        source=_data_name(facts),
        penalties=_penalties(facts),
        worst=_worst(facts.evaluation),
        metrics=in_order(metrics),
        papers=sorted({source for each in metrics if (source := meaning(each).source)}),
    )
    replace_text(path, text)


def _data_name(facts: Facts) -> str:
    """What the data are called: the source's file or folder without its endings."""
    return PurePosixPath(facts.source.rstrip("/")).name.partition(".")[0] or "images"


def _metadata(facts: Facts) -> dict[str, Any]:
    """The front matter; see https://github.com/huggingface/hub-docs/blob/main/modelcard.md."""
    conditional, metrics = facts.generator.network.conditional, facts.evaluation.metrics
    translates = facts.generator.inputs is not None
    task = TRANSLATION if translates else TASK
    name = "Image translation" if translates else "Image generation, by class" if conditional else "Image generation"
    result = {
        "task": {"type": task, "name": name},
        "dataset": {"type": _data_name(facts), "name": _data_name(facts), "split": "test"},
        "metrics": [_metric(name, metrics[name]) for name in in_order(metrics)],
    }
    return {
        "library_name": "ganlib",
        "pipeline_tag": task,
        "tags": [
            facts.config.loss.objective,
            "image-translation" if translates else "image-generation",
            facts.config.network.family,
            *(["class-conditional"] if conditional else []),
        ],
        # The Hub takes no results without a metric.
        **({"model-index": [{"name": facts.config.register_.model_name, "results": [result]}]} if metrics else {}),
    }


def _metric(name: str, figure: Figure) -> dict[str, Any]:
    measured = figure.conditions
    between = figure.interval
    sure = "" if between is None else f"; estimate {estimate(between)}, {between.level:.0%} interval"
    return {
        "type": name.rpartition("/")[2],
        "value": figure.value,
        "name": f"{meaning(name).title}, {measured.extractor} features, as papers report it{sure}",
        "args": {
            "generated_images": measured.generated_count,
            "reference_images": measured.reference_count,
            "resizer": measured.resizer,
            "extractor_sha256": measured.weights_sha256,
        },
    }


def _penalties(facts: Facts) -> list[str]:
    """The gradient penalties that count, by name."""
    loss = facts.config.loss
    if not isinstance(loss, GanOptions):
        return []
    named = {"R1": loss.r1, "R2": loss.r2, "WGAN gradient penalty": loss.gradient_penalty}
    return [name for name, penalty in named.items() if penalty.active]


def _worst(evaluation: Evaluation) -> list[ClassFigures]:
    """The worst classes of those that can be ranked, if there are others."""
    ranked = [each for each in evaluation.classes if each.distance is not None]
    return ranked[: min(WORST_SHOWN, len(ranked) - 1)] if len(ranked) > 1 else []
