"""Stage: measure the generator against the held-out split and make the pictures."""

import torch

from ganlib.config import load_config
from ganlib.datasets.packed import open_packed
from ganlib.evaluation import Evaluation, evaluate, real_beside_generated, sample_grid
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines import paths, tracking
from pipelines.stages.extraction import project_extractor
from pipelines.stages.shell import run_stage, say, write_json, write_png

ROWS = 10
COLUMNS = 10
PICTURE_SIDE_PX = 32


def main() -> None:
    """Write metrics, their full record, the sample grid and the real-beside-generated grid."""
    config = load_config(paths.PARAMS)
    data = open_packed(paths.PROCESSED)
    generator = ImageGenerator.load(paths.GENERATOR)
    extractor = project_extractor(config.evaluate.extractor, config, torch.device("cpu"))
    result = evaluate(generator, data, extractor, config.evaluate, cache=paths.FEATURES, notify=say)
    seed, scale = config.evaluate.seed, max(1, PICTURE_SIDE_PX // data.image.size)
    columns = data.image.num_classes if generator.conditional and data.image.num_classes <= COLUMNS else COLUMNS
    pictures = {
        paths.SAMPLES: sample_grid(generator, seed=seed, rows=ROWS, columns=columns, scale=scale),
        paths.REAL_AND_GENERATED: real_beside_generated(
            generator, data, seed=seed, rows=ROWS, columns=columns, scale=scale
        ),
    }
    for path, pixels in pictures.items():
        write_png(path, pixels)
    write_json(paths.METRICS, result.figures())
    write_json(paths.EVALUATION, result.to_json())
    _print(result)
    seen_images = int(generator.provenance["seen_images"])
    with tracking.attach_run(
        experiment=config.tracking.experiment, generator_sha256=generator_sha256(paths.GENERATOR), tags={}
    ) as log:
        log.metrics({f"test/{name}": record["value"] for name, record in result.metrics.items()}, seen_images)
        spreads = {f"test/{name}_std": r["std"] for name, r in result.metrics.items() if r["std"] is not None}
        log.metrics(spreads, seen_images)
        for path in (paths.EVALUATION, paths.METRICS, *pictures):
            log.artifact(path, "evaluation")


def _print(result: Evaluation) -> None:
    for name, record in result.metrics.items():
        spread = "" if record["std"] is None else f" ± {record['std']:.4f}"
        say(f"evaluate: {name} {record['value']:.4f}{spread}")


if __name__ == "__main__":
    run_stage("evaluate", main)
