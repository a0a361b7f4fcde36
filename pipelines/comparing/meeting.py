"""Two runs as the gate compares champion and challenger: their generators, drawn from again on the same real images."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import LOWER_IS_BETTER, RunConfig
from ganlib.datasets.packed.reading import open_packed
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Notify
from ganlib.packaging import generator_sha256
from pipelines import paths
from pipelines.comparing.figures import is_sure
from pipelines.comparing.subject import Subject
from pipelines.registry.gate import Opponent, decide
from pipelines.registry.verdict import Row, Verdict
from pipelines.registry.versions import download_generator
from pipelines.stages.contest import contest
from pipelines.stages.extraction import prepare_evaluation
from pipelines.tracking.lineage import content_tags


@dataclass(frozen=True)
class Meeting:
    """What the gate makes of the second run as challenger of the first.

    Attributes:
        verdict: of which the table states every figure; the first row is the metric.
        better: of the two, by the metric and surely: 0 or 1; None where their difference may be chance.
        real, generated: images that both were measured on.
        strangers: names of the runs that were trained on other data than the project holds now.
    """

    verdict: Verdict
    better: int | None
    real: int
    generated: int
    strangers: tuple[str, ...]

    @property
    def metric(self) -> Row:
        """The row that decides."""
        return self.verdict.table[0]


def meet(config: RunConfig, first: Subject, second: Subject, notify: Notify) -> Meeting:
    """Fetch both generators and compare them on the project's held-out images, by its present parameters.

    Raises:
        UserError: it cannot be done, and why.
    """
    if first.generator_sha256 and first.generator_sha256 == second.generator_sha256:
        raise UserError("both made the same generator, bit for bit")
    if second.evaluation is None:
        raise UserError(f"the evaluation of {second.called} is not recorded")
    if config.register_.metric not in second.evaluation.metrics:
        raise UserError(f"{second.called} was not measured in register.metric={config.register_.metric}")
    data = open_packed(paths.PROCESSED)
    device = prepare_evaluation(config.evaluate)
    with tempfile.TemporaryDirectory() as folder:
        notify("fetching the generators")
        champion, challenger = (_fetched(config.register_.model_name, each, Path(folder)) for each in (first, second))
        notify("drawing from both and comparing them")
        comparison = contest(challenger, champion, config, data, device, notify=notify)
    here = content_tags(config, data)["data_sha256"]
    verdict = decide(config.register_, second.evaluation, Opponent(first.called, comparison, remeasured=False))
    return Meeting(
        verdict=verdict,
        better=_better(config.register_.figure, verdict.table[0]),
        real=len(data.test),
        generated=config.evaluate.samples,
        strangers=tuple(each.called for each in (first, second) if each.data_sha256 not in {"", here}),
    )


def _fetched(model: str, subject: Subject, root: Path) -> Path:
    if subject.version is None:
        raise UserError(f"no version of model {model} holds the generator of {subject.called}: it cannot be drawn from")
    uri, folder = f"models:/{model}/{subject.version}", root / subject.version
    folder.mkdir()
    generator = download_generator(uri, folder)
    if generator_sha256(generator) != subject.generator_sha256:
        raise UserError(f"{uri}: its stored generator is not the one that the run of {subject.called} made")
    return generator


def _better(figure: str, row: Row) -> int | None:
    if row.difference is None or not is_sure(row.difference):
        return None
    second_is_lower = row.difference.high < 0
    return 1 if second_is_lower == (figure in LOWER_IS_BETTER) else 0
