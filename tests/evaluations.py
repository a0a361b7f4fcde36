"""Records of evaluations and verdicts, made up for tests of what is made from them."""

from pathlib import Path

from ganlib.evaluation.record import FORMAT_VERSION, Conditions, Evaluation, Figure, Interval
from pipelines import paths
from pipelines.registry.verdict import Registration, Row, Verdict

CONDITIONS = Conditions(
    extractor="domain",
    weights_sha256="a" * 64,
    alpha=None,
    reference="test",
    reference_digest="b" * 64,
    reference_count=500,
    generated_count=2000,
    resizer="bicubic",
)


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    """With an interval if its ends are given, the value being in the middle."""
    interval = None if low is None or high is None else Interval(estimate=value, low=low, high=high, level=0.95)
    return Figure(value=value, interval=interval, conditions=CONDITIONS)


def evaluation(**metrics: Figure) -> Evaluation:
    """Of figures on domain features."""
    return Evaluation(
        format_version=FORMAT_VERSION,
        generator_sha256="c" * 64,
        measured_on="d" * 64,
        alarms=(),
        metrics={f"domain/{name}": found for name, found in metrics.items()},
        skipped={},
        classes=(),
        memorisation={},
        truncation=(),
        rejection=None,
        reconstruction=None,
        translation=None,
    )


def registration(reason: str, *, promoted: bool = True) -> Registration:
    """A first champion."""
    row = Row(
        name="domain/fid",
        challenger=2.9,
        champion=None,
        difference=None,
        limit=0.05,
        passed=promoted,
        note="Decides.",
    )
    return Registration(
        model_name="digits",
        version="3",
        aliases=("challenger", "champion") if promoted else ("challenger",),
        metric="domain/fid",
        margin=0.05,
        confidence=0.95,
        champion_version=None,
        remeasured=False,
        verdict=Verdict(promoted=promoted, reason=reason, table=(row,)),
        generator_sha256="c" * 64,
    )


def write_reports(project: Path, found: Evaluation, decision: Registration) -> None:
    """As the stages would."""
    (project / paths.REPORTS).mkdir(exist_ok=True)
    found.write(project / paths.EVALUATION)
    (project / paths.REGISTRATION).write_text(decision.model_dump_json(), encoding="utf-8")
