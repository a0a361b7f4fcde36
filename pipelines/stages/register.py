"""Stage: the gate, and the model registry."""

from pathlib import Path

import torch

from ganlib.config import load_config
from ganlib.datasets.packed import open_packed
from ganlib.errors import UserError
from ganlib.evaluation import evaluate
from ganlib.packaging import ImageGenerator
from pipelines import paths, registry
from pipelines.lineage import version_tags
from pipelines.stages.extraction import project_extractor
from pipelines.stages.shell import read_json, run_stage, say, write_json


def main() -> None:
    """Register the generator, let it meet the champion, and write the decision."""
    config = load_config(paths.PARAMS)
    data = open_packed(paths.PROCESSED)

    def rescore(folder: Path) -> float:
        """The champion's score on today's data and extractor."""
        say("register: the champion was measured on other data or features; measuring it again")
        extractor = project_extractor(config.evaluate.extractor, config, torch.device("cpu"))
        champion = ImageGenerator.load(folder)
        result = evaluate(champion, data, extractor, config.evaluate, cache=paths.FEATURES, notify=say)
        metric = config.register_.metric
        if metric not in result.metrics:
            raise UserError(f"the champion is unconditional, so it has no {metric}")
        return float(result.metrics[metric]["value"])

    registration = registry.register(
        options=config.register_,
        experiment=config.tracking.experiment,
        generator_folder=paths.GENERATOR,
        evaluation=read_json(paths.EVALUATION, "evaluate"),
        tags=version_tags(config, data),
        rescore=rescore,
        say=say,
    )
    write_json(paths.REGISTRATION, registration.to_json())
    say(f"register: {registration.reason}")


if __name__ == "__main__":
    run_stage("register", main)
