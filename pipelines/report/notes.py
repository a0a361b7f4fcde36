"""What MLflow says of a run and of its version, in Markdown: the verdict, the samples, the figures, the commands."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

from pipelines import paths
from pipelines.registry.verdict import Registration
from pipelines.report.facts import Facts
from pipelines.report.meanings import in_order, title
from pipelines.report.page import commands, verdict_row
from pipelines.report.plainly import told

# Of the figures, those that stand in the note; all are in the report.
_SHOWN = ("fid", "coverage", "precision", "recall", "label_fidelity")


def note(facts: Facts, registration: Registration, run_id: str) -> str:
    """The verdict in one sentence, the samples, then tables and commands; links go to the run's artifacts."""
    return "\n".join(_lines(facts, registration, run_id)) + "\n"


def _lines(facts: Facts, registration: Registration, run_id: str) -> Iterator[str]:
    yield f"**{_plain(registration.verdict.reason)}**"
    yield ""
    for alarm in facts.evaluation.alarms:
        yield f"Alarm: {_plain(alarm)}."
        yield ""
    samples = _address(run_id, f"{paths.EVALUATION_ARTIFACTS}/{paths.PICTURES.name}/{paths.SAMPLES.name}")
    report = _address(run_id, f"{paths.REPORT_ARTIFACTS}/{paths.REPORT.name}")
    yield f"![samples]({samples})"
    yield ""
    yield f"Version {registration.version} of {_plain(registration.model_name)}. [The whole report]({report})"
    yield ""
    yield "| | this version |"
    yield "| --- | --- |"
    for name in in_order(facts.evaluation.metrics):
        if name.rpartition("/")[2] in _SHOWN:
            yield f"| {title(name)} | {told(facts.evaluation.metrics[name])} |"
    yield ""
    yield "What the gate looked at:"
    yield ""
    yield "| | this version | champion | difference | limit | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in map(verdict_row, registration.verdict.table):
        cells = (row.title, row.challenger, row.champion, row.difference, row.limit, f"{row.mark}: {row.note}")
        yield f"| {' | '.join(map(_plain, cells))} |"
    yield ""
    yield "Values are as papers report them; differences and their intervals are free of the bias of few images."
    yield ""
    yield "```"
    for what, command in commands(facts, registration):
        yield f"{command}  # {what}"
    yield "```"


def _plain(text: str) -> str:
    """As text: MLflow's Markdown knows few escapes by backslash, but entities."""
    return re.sub(r"[&<>*_`#|\[\]\\]", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def _address(run_id: str, artifact: str) -> str:
    """Of an artifact, from any of MLflow's pages."""
    return f"get-artifact?{urlencode({'path': artifact, 'run_uuid': run_id})}"
