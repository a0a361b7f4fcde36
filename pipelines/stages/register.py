"""Stage: the gate, the model registry, and the report about both."""

from pathlib import Path

from ganlib.config import load_config
from ganlib.datasets.packed.reading import open_packed
from ganlib.evaluation.comparison import Comparison
from ganlib.evaluation.drawing import Notify
from ganlib.events import Notice
from ganlib.packaging import generator_sha256
from pipelines import paths
from pipelines.registry.register import logged_evaluation, register
from pipelines.report.card import write_card
from pipelines.report.facts import gather
from pipelines.report.notes import note
from pipelines.report.page import write_page
from pipelines.stages.contest import contest
from pipelines.stages.extraction import prepare_evaluation
from pipelines.stages.shell import ProgressDisplay, run_stage, say, write_json
from pipelines.tracking import runs
from pipelines.tracking.lineage import origin

# MLflow lists artifacts in the order of their bytes: capitals first.
FIRST_ARTIFACT = "Report.html"


def main() -> None:
    """Register the generator, let it meet the champion, and write the decision and the report."""
    with ProgressDisplay("register") as display:
        _register(lambda text: display(Notice(text)))


def _register(notify: Notify) -> None:
    config = load_config(paths.PARAMS)
    device = prepare_evaluation(config.evaluate)
    data = open_packed(paths.PROCESSED)
    made = origin(config, data, generator_sha256(paths.GENERATOR))

    def meet(champion: Path) -> Comparison:
        notify("comparing with the champion")
        return contest(paths.GENERATOR, champion, config, data, device, notify=notify)

    notify("registering the generator")
    facts = gather(Path(), made.config, made.tags)

    def card(version: str, folder: Path) -> Path:
        path = folder / paths.MODEL_CARD.name
        write_card(facts, version, path)
        return path

    registration = register(
        options=config.register_,
        experiment=config.tracking.experiment,
        generator_folder=paths.GENERATOR,
        write_card=card,
        evaluation=facts.evaluation,
        background=made.config.data.background,
        tags=made.tags,
        contest=meet,
        describe=lambda found, run_id: note(facts, found, run_id),
        say=say,
    )
    write_card(facts, registration.version, paths.MODEL_CARD)
    write_json(paths.REGISTRATION, registration.model_dump(mode="json"))
    say(f"register: {registration.verdict.reason}")
    beside = logged_evaluation(registration.model_name, registration.champion_version)
    write_page(facts, registration, paths.REPORT, champion=beside)
    with runs.attach_run(
        experiment=config.tracking.experiment, generator_sha256=registration.generator_sha256, tags={}
    ) as log:
        for path in (paths.REPORT, paths.MODEL_CARD, paths.REGISTRATION):
            log.artifact(path, paths.REPORT_ARTIFACTS)
        log.artifact(paths.REPORT, "", FIRST_ARTIFACT)


if __name__ == "__main__":
    run_stage("register", main)
