"""All that the doctor looks at, in its order."""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from ganlib.config import RunConfig, load_config
from ganlib.errors import UserError
from pipelines import paths
from pipelines.doctor import machine, project, services, software
from pipelines.doctor.finding import Finding
from pipelines.exit_codes import FAILURE_EXIT_CODE
from pipelines.stages.heartbeat import Heartbeat
from pipelines.tracking.store import redact

_QUIET_S = 5.0
_TOPIC_WIDTH = 13

Look = Callable[[], Iterable[Finding]]


def examine(folder: Path) -> int:
    """Print a line for everything that was looked at: `ok`, or `do` with what to do.

    Returns:
        The exit code: 1 where there is something to do.
    """
    todo = 0
    with Heartbeat(_say, "looking", every_s=_QUIET_S) as heartbeat:
        for topic, look in _looks(folder):
            heartbeat.note(topic)
            for found in _told(look):
                todo += not found.well
                _print(topic, found)
    told = "all is well" if not todo else f"{todo} things to do" if todo > 1 else "one thing to do"
    sys.stdout.write(f"gan doctor: {told}\n")
    return FAILURE_EXIT_CODE if todo else 0


def _looks(folder: Path) -> Iterator[tuple[str, Look]]:
    config = _config(folder)
    yield "versions", partial(software.versions, folder)
    yield "environment", partial(software.installation, folder)
    yield "telemetry", software.telemetry
    yield "variables", software.variables
    yield "parameters", partial(project.parameters, folder)
    if config is not None:
        yield "devices", partial(machine.devices, config)
        asked = (config.train.extractor, config.evaluate.extractor, config.critic_pretrained)
        for name in dict.fromkeys(each for each in asked if each is not None):
            yield "weights", partial(machine.weights, folder, config, name)
    yield "disk", partial(machine.disks, folder)
    yield "git", partial(project.commit, folder)
    yield "DVC", partial(project.remote, folder)
    yield "MLflow", partial(services.store, None if config is None else config.tracking.experiment)
    yield "Prefect", services.prefect
    yield "locks", partial(project.locks, folder)
    yield "spool", partial(project.spool, folder)


def _config(folder: Path) -> RunConfig | None:
    """None where the parameters are not valid, which is told among the others."""
    try:
        return load_config(folder / paths.PARAMS)
    except UserError:
        return None


def _told(look: Look) -> Iterator[Finding]:
    """What a look finds; what ends it is something to do."""
    try:
        yield from look()
    except UserError as error:
        for line in str(error).splitlines():
            yield Finding(line, well=False)
    except OSError as error:
        yield Finding(f"{error.strerror or error} ({error.filename or 'no file named'}); mend it", well=False)


def _print(topic: str, found: Finding) -> None:
    sys.stdout.write(f"{'ok' if found.well else 'do'}  {topic:{_TOPIC_WIDTH}}{redact(found.text)}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"doctor: {text}\n")
