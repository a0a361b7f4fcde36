"""Stage: measure the generator against the held-out split and make the pictures."""

import time
from pathlib import Path

from ganlib.config import EvaluateOptions, GanOptions, RunConfig, load_config
from ganlib.counting import told_time
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.errors import UserError
from ganlib.evaluation import pictures
from ganlib.evaluation.drawing import Draw, Notify, Reference, draw
from ganlib.evaluation.pictures import Layout
from ganlib.evaluation.protocol import evaluate
from ganlib.evaluation.record import Evaluation
from ganlib.evaluation.rejection import critic_logits
from ganlib.evaluation.workload import workload_of
from ganlib.events import Notice
from ganlib.marking import COMPOSITE_TYPE, SOURCE_TYPE, Origin, marked_png, marked_webp
from ganlib.metrics.extractors import Extractor
from ganlib.networks.base import Critic
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic
from ganlib.sampling import Images, balanced_labels, render, seeded_latents
from pipelines import paths
from pipelines.report.plainly import copies_told, told, way_rows
from pipelines.report.rounding import estimate
from pipelines.stages.extraction import prepare_evaluation, reference_by
from pipelines.stages.looking import project_extractor
from pipelines.stages.shell import (
    FRAME_MS,
    LARGEST_EXACT_PX,
    ProgressDisplay,
    run_stage,
    say,
    write_bytes,
    write_json,
)
from pipelines.tracking import runs, tables
from pipelines.tracking.headline import evaluated

PAIRS_SHOWN = "features"
STRIP_ROWS = 6
FRAMES_PER_PAIR = 12


def main() -> None:
    """Write metrics, their full record, and the pictures."""
    with ProgressDisplay("evaluate") as display:
        _evaluate(lambda text: display(Notice(text)))


def _evaluate(notify: Notify) -> None:
    config = load_config(paths.PARAMS)
    device = prepare_evaluation(config.evaluate)
    generator = ImageGenerator.load(paths.GENERATOR, str(device))
    sha256 = generator_sha256(paths.GENERATOR)
    data = open_packed(paths.PROCESSED)
    extractor = project_extractor(config.evaluate.extractor, config, device)
    critic = _critic(str(device)) if isinstance(config.loss, GanOptions) else None
    if generator.inputs is None:
        notify(_how_long(generator, critic, extractor, data, config.evaluate))
    reference = reference_by(extractor, config, data, notify=notify)
    drawn = draw(generator, sha256, reference, config.evaluate)
    result = evaluate(drawn, reference, config.evaluate, critic=critic, recipe=config.extractor)
    made = _pictures(drawn, reference, result, config.evaluate)
    paths.PICTURES.mkdir(parents=True, exist_ok=True)
    for path, pixels in made.items():
        write_bytes(path, _marked(path, pixels, drawn, config.evaluate.seed))
    if generator.inputs is None:
        write_bytes(paths.ANIMATION, _animation(drawn, config.evaluate.seed))
    write_json(paths.METRICS, result.figures())
    result.write(paths.EVALUATION)
    _print(result)
    notify("logging the results to MLflow")
    _log(result, config, int(generator.provenance["seen_images"]))


def _how_long(
    generator: ImageGenerator, critic: Critic | None, extractor: Extractor, data: PackedData, options: EvaluateOptions
) -> str:
    """What there is to do, and how long it will take at the rate of a first batch."""
    work = workload_of(options, train=len(data.train), test=len(data.test))
    some = next(data.test.batches(extractor.pass_images))
    latents = seeded_latents(len(some), generator.network.latent_dim, options.seed)
    labels = balanced_labels(len(some), generator.image.num_classes) if generator.conditional else None
    for _ in range(2):  # the first time takes longer
        began = time.perf_counter()
        extractor.extract(some)
        seen = time.perf_counter()
        render(generator.generator, latents, labels, batch_size=len(some))
        made = time.perf_counter()
        if critic is not None:
            critic_logits(critic, [some], labels)
        judged = time.perf_counter()
    seconds = work.looked_at * (seen - began) + work.generated * (made - seen) + work.judged * (judged - made)
    seconds /= len(some)
    return (
        f"{work.looked_at} images to look at with {extractor.name}, {work.generated} to generate, {work.judged} for "
        f"the critic to judge: about {told_time(seconds)}, less where features are known from before"
    )


def _critic(device: str) -> Critic | None:
    try:
        return load_critic(paths.GENERATOR, device)
    except UserError as error:
        say(f"evaluate: {error}")
        return None


def _pictures(drawn: Draw, reference: Reference, result: Evaluation, options: EvaluateOptions) -> dict[Path, Images]:
    generator, seed, layout = drawn.generator, options.seed, Layout.of(drawn.generator)
    grid = {"seed": seed, "rows": layout.rows, "columns": layout.columns, "scale": layout.scale}
    if generator.inputs is not None:
        return {paths.SAMPLES: pictures.translations(generator, reference, **grid)}
    found = {
        paths.SAMPLES: pictures.sample_grid(generator, **grid),
        paths.REAL_AND_GENERATED: pictures.real_beside_generated(generator, reference.data, **grid),
        paths.INTERPOLATION: pictures.interpolation_strip(
            generator, seed=seed, rows=STRIP_ROWS, columns=layout.strip, scale=layout.scale
        ),
    }
    if options.latent.truncations:
        found[paths.TRUNCATION] = pictures.truncation_strip(
            generator, sorted(options.latent.truncations), seed=seed, columns=layout.columns, scale=layout.scale
        )
    if result.memorisation:
        found[paths.NEAR_COPIES] = pictures.near_copies(
            drawn,
            result.memorisation[PAIRS_SHOWN],
            reference,
            count=options.near_copies,
            columns=layout.strip,
            scale=layout.scale,
        )
    return found


def _marked(path: Path, pixels: Images, drawn: Draw, seed: int) -> bytes:
    """The picture as a file that says by what it was made and, where it can be made again, how."""
    layout = Layout.of(drawn.generator)
    request: dict[str, str | int] = {"picture": path.stem}
    if path == paths.SAMPLES and drawn.generator.inputs is None:
        count = layout.rows * layout.columns
        request = {"seed": seed, "count": count, "columns": layout.columns, "scale": layout.scale}
    shows_real = path in {paths.REAL_AND_GENERATED, paths.NEAR_COPIES} or drawn.generator.inputs is not None
    return marked_png(pixels, Origin(drawn.sha256, request), COMPOSITE_TYPE if shows_real else SOURCE_TYPE)


def _animation(drawn: Draw, seed: int) -> bytes:
    generator, layout = drawn.generator, Layout.of(drawn.generator)
    frames = pictures.interpolation_frames(
        generator,
        seed=seed,
        images=STRIP_ROWS,
        frames_per_pair=FRAMES_PER_PAIR,
        shown=layout.moving,
        scale=layout.scale,
    )
    origin = Origin(drawn.sha256, {"picture": paths.ANIMATION.stem})
    return marked_webp(frames, origin, frame_ms=FRAME_MS, exact=generator.image.size <= LARGEST_EXACT_PX)


def _print(result: Evaluation) -> None:
    for alarm in result.alarms:
        say(f"evaluate: ALARM: {alarm}")
    for name, figure in result.metrics.items():
        say(f"evaluate: {name} {told(figure)}")
    for space, found in result.memorisation.items():
        say(f"evaluate: near copies by {space}: {copies_told(found)}")
    if result.reconstruction is not None:
        for name, both in result.reconstruction.by_name.items():
            sides = (both.held_out, "held-out"), (both.training, "training"), (both.difference, "difference")
            said = ", ".join(f"{side} {estimate(found)}" for found, side in sides)
            say(f"evaluate: reconstruction {name}: {said}")
    if result.translation is not None:
        kinds = " and ".join(f"to {way.made}" for way in result.translation.ways)
        for name, texts in way_rows(result.translation.ways):
            say(f"evaluate: {name}, {kinds}: {' and '.join(texts)}")
    for name, reason in result.skipped.items():
        say(f"evaluate: {name} left out: {reason}")


def _log(result: Evaluation, config: RunConfig, seen_images: int) -> None:
    with runs.attach_run(
        experiment=config.tracking.experiment, generator_sha256=result.generator_sha256, tags={}
    ) as log:
        log.metrics(evaluated(result, config.register_.metric), seen_images)
        log.written(tables.FIGURES, lambda path: tables.write_figures(result, path), paths.EVALUATION_ARTIFACTS)
        for path in (paths.EVALUATION, paths.METRICS, paths.PICTURES):
            log.artifact(path, paths.EVALUATION_ARTIFACTS)


if __name__ == "__main__":
    run_stage("evaluate", main)
