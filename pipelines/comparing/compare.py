"""`gan compare`: from the names of runs to tables, a page, and the page among the artifacts of the newest run."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ganlib.config import RunConfig, load_config
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Notify
from pipelines import paths
from pipelines.comparing.findings import find
from pipelines.comparing.meeting import Meeting, meet
from pipelines.comparing.page import write_page
from pipelines.comparing.subject import Subject, read_subject
from pipelines.comparing.terminal import show
from pipelines.registry.choosing import Chosen, choose, newest
from pipelines.stages.heartbeat import Heartbeat
from pipelines.tracking.runs import deliver_pending
from pipelines.tracking.store import check_there

MOST_RUNS = 8  # that curves in one chart can be told apart
ARTIFACTS = "comparison"
_QUIET_S = 5.0
_SHORT_ID = 8


def compare_runs(wanted: Sequence[str], *, last: int | None, output: Path) -> None:
    """Compare runs, print what is found, write the page, and log it to the newest of them.

    Args:
        wanted: ids, unique starts of ids, names, aliases or version numbers.
        last: so many of the newest runs instead.
        output: HTML file, replaced as a whole or not at all.

    Raises:
        UserError: too few or too many runs, one that is not there, or the store does not answer.
    """
    _check(wanted, last, output)
    config = load_config(paths.PARAMS)
    check_there()
    with Heartbeat(_say, "reading the runs", every_s=_QUIET_S) as heartbeat:

        def notify(text: str) -> None:
            heartbeat.note(text)
            _say(text)

        deliver_pending()
        experiment, model = config.tracking.experiment, config.register_.model_name
        chosen = choose(experiment, model, wanted) if last is None else newest(experiment, model, last)
        subjects = [read_subject(each) for each in chosen]
        meeting, unmet = _meet(config, subjects, notify)
    found = find(subjects, config.register_.metric, meeting, unmet)
    write_page(found, output)
    show(found)
    sys.stdout.write(f"{output}: the same as a page, with samples and curves\n")
    _log(chosen, output)


def _check(wanted: Sequence[str], last: int | None, output: Path) -> None:
    if last is None and len(wanted) < 2:
        raise UserError("RUN: give two runs or more to compare, such as `champion challenger`, or --last N")
    if last is not None and wanted:
        raise UserError(f"--last {last}: give either this or runs by name ({', '.join(wanted)})")
    if len(wanted) > MOST_RUNS:
        raise UserError(f"RUN: found {len(wanted)}, expected at most {MOST_RUNS}, so that they can be told apart")
    if output.suffix.lower() not in {".html", ".htm"} or output.is_dir():
        raise UserError(f"--output {output}: an HTML file is written; expected a name that ends in .html")


def _meet(config: RunConfig, subjects: Sequence[Subject], notify: Notify) -> tuple[Meeting | None, str]:
    """The meeting of two; or why there is none."""
    if len(subjects) != 2:
        return None, ""
    try:
        return meet(config, subjects[0], subjects[1], notify), ""
    except UserError as error:
        return None, str(error)


def _log(chosen: Sequence[Chosen], page: Path) -> None:
    """Keep the page with the newest of the runs."""
    newest_run = max(chosen, key=lambda each: each.run.info.start_time)
    others = (each.run.info.run_id[:_SHORT_ID] for each in chosen if each is not newest_run)
    folder = f"{ARTIFACTS}/with-{'-'.join(others)}"
    newest_run.artifacts.log(page, folder)
    sys.stdout.write(f"Logged to run {newest_run.run.info.run_name}: {folder}/{page.name}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"compare: {text}\n")
