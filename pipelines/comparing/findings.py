"""What a comparison of runs has found, and its first sentence."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.comparing.figures import Row, measured_alike, otherwise, rows
from pipelines.comparing.meeting import Meeting
from pipelines.comparing.parameters import Difference, differing
from pipelines.comparing.subject import Subject
from pipelines.report.meanings import title
from pipelines.report.rounding import estimate


@dataclass(frozen=True)
class Findings:
    """A comparison of two runs or more.

    Attributes:
        subjects: the runs.
        metric: the gate's, such as `domain/fid`.
        meeting: of two runs as the gate compares them; None where that was not done.
        unmet: why it was not; empty of more than two runs.
        parameters: those that differ.
        figures: a row for each.
        notes: what has to be known to read them, a line each.
    """

    subjects: tuple[Subject, ...]
    metric: str
    meeting: Meeting | None
    unmet: str
    parameters: tuple[Difference, ...]
    figures: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the runs are called."""
        return tuple(each.called for each in self.subjects)

    @property
    def headline(self) -> str:
        """Which run is better by the gate's metric, and whether that is sure."""
        if self.meeting is not None:
            return _of_meeting(self.meeting, self.names, self.metric)
        row = next((each for each in self.figures if each.name == self.metric), None)
        return _of_row(row, self.names, self.metric)


def find(subjects: Sequence[Subject], metric: str, meeting: Meeting | None, unmet: str) -> Findings:
    """Put together what is known of the runs; arguments as the attributes of `Findings`."""
    alike = measured_alike(subjects)
    return Findings(
        subjects=tuple(subjects),
        metric=metric,
        meeting=meeting,
        unmet=unmet,
        parameters=tuple(differing([each.parameters for each in subjects])),
        figures=tuple(rows(subjects, alike)),
        notes=(*_strangeness(subjects, meeting), *otherwise(subjects, alike, metric), *_lacking(subjects)),
    )


def _of_meeting(meeting: Meeting, names: Sequence[str], metric: str) -> str:
    row = meeting.metric
    assert row.difference is not None
    apart = f"the difference is {estimate(row.difference)}"
    if meeting.better is None:
        return f"{names[0]} and {names[1]} do not surely differ in {title(metric)}: {apart}, which may be chance."
    better, other = names[meeting.better], names[1 - meeting.better]
    return f"{better} is surely better than {other} in {title(metric)}: {apart}."


def _of_row(row: Row | None, names: Sequence[str], metric: str) -> str:
    ranked = [] if row is None else [place for place, figure in enumerate(row.figures) if figure and figure.interval]
    if row is None or len(ranked) < 2 or row.verdict == "not ranked":
        return f"Which is better cannot be told: no two of these runs were measured alike in {title(metric)}."
    if not row.best:
        return f"None of these runs is surely better than another in {title(metric)}."
    return f"By {title(metric)}, {row.verdict}; the others are surely worse."


def _strangeness(subjects: Sequence[Subject], meeting: Meeting | None) -> Iterator[str]:
    """What makes runs differ in more than their recipe."""
    counts = Counter(each.data_sha256 for each in reversed(subjects) if each.data_sha256)
    if len(counts) > 1:
        most = max(counts, key=lambda digest: counts[digest])
        usual = ", ".join(each.called for each in subjects if each.data_sha256 == most)
        others = ", ".join(each.called for each in subjects if each.data_sha256 not in {"", most})
        yield f"{others}: trained on other data than {usual}"
    if meeting is not None and meeting.strangers:
        strangers = ", ".join(meeting.strangers)
        yield f"compared on the data that this project holds now, while trained on others: {strangers}"
    for digest, count in Counter(each.generator_sha256 for each in subjects if each.generator_sha256).items():
        if count > 1:
            same = ", ".join(each.called for each in subjects if each.generator_sha256 == digest)
            yield f"{same}: made the same generator, bit for bit"


def _lacking(subjects: Sequence[Subject]) -> Iterator[str]:
    for each in subjects:
        if each.lacks:
            state = "" if each.status == "FINISHED" else f" ({each.status.lower()})"
            yield f"{each.called}{state}: {'; '.join(each.lacks)}"
