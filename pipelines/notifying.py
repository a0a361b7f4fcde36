"""A word to people who do not watch: how a run ended, and alarms of its training.

It goes to the addresses in the environment variable GANLIB_NOTIFY, as Apprise writes them (`mailto://…`, `slack://…`,
`json://…`), with spaces between them. They hold secrets: of an address only its kind is ever shown.
"""

import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ganlib.config import load_config
from ganlib.errors import UserError
from pipelines import paths
from pipelines.graph.dag import StageFailed, StageOutcome
from pipelines.progress import is_alarm
from pipelines.summary import headline

VARIABLE = "GANLIB_NOTIFY"
Kind = Literal["success", "failure", "warning"]
Say = Callable[[str], None]


class Notifications:
    """Those of one run."""

    def __init__(self, project: Path, say: Say) -> None:
        """`say` hears in one line of each address that did not take a message; the run goes on."""
        self._project, self._say = project, say
        self._alarmed: set[str] = set()

    def hear(self, line: str) -> None:
        """Pass a stage's first alarm on; later ones are in the log."""
        stage = line.partition(":")[0]
        if is_alarm(line) and stage not in self._alarmed:
            self._alarmed.add(stage)
            self._send(line, "warning")

    def finished(self, place: Path, outcomes: Sequence[StageOutcome]) -> None:
        """Tell what came of it, with a picture, unless there was nothing to do.

        Args:
            place: where the run has worked.
            outcomes: of all stages.
        """
        if any(outcome.status != "unchanged" for outcome in outcomes):
            pictures = (place / each for each in (paths.SAMPLES, paths.TRAINING_SAMPLES))
            self._send(headline(place, outcomes), "success", next((each for each in pictures if each.exists()), None))

    def failed(self, error: Exception) -> None:
        """Tell why."""
        self._send(f"Failed: {error}", "failure")

    def _send(self, text: str, kind: Kind, picture: Path | None = None) -> None:
        addresses = os.environ.get(VARIABLE, "").split()
        if not addresses:
            return
        where = f"{self._project} on {platform.node()}"
        for place, address in enumerate(addresses, start=1):
            if (why := _sent(address, _title(self._project), f"{text}\n{where}", kind, picture)) is not None:
                shown = f"{address.partition(':')[0]}:…" if ":" in address else "address"
                self._say(f"{VARIABLE}: {shown} ({place} of {len(addresses)}) {why}")


@contextmanager
def notifications(project: Path, say: Say) -> Iterator[Notifications]:
    """Around a run; a failure that is raised inside is told, an interruption is not."""
    told = Notifications(project, say)
    try:
        yield told
    except (UserError, StageFailed) as error:
        told.failed(error)
        raise


def _sent(address: str, title: str, body: str, kind: Kind, picture: Path | None) -> str | None:
    """Send a message to one address; why it was not taken, None where it was."""
    from apprise import Apprise, NotifyType

    logging.getLogger("apprise").addHandler(logging.NullHandler())
    logging.getLogger("apprise").propagate = False  # it writes addresses
    channel = Apprise.instantiate(address)
    if channel is None:
        return "is no address that Apprise knows; see https://appriseit.com/services/"
    sender = Apprise()
    sender.add(channel)
    attached = str(picture) if picture is not None and channel.attachment_support else None
    if sender.notify(body, title=title, notify_type=NotifyType(kind), attach=attached):
        return None
    return "did not take the message; check address and network"


def _title(project: Path) -> str:
    try:
        return load_config(project / paths.PARAMS).register_.model_name
    except UserError:
        return project.name
