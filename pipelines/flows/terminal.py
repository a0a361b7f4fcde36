"""What a flow shows in a terminal."""

import logging
import sys

# Marks the lines that people want to read among Prefect's own.
FOR_PEOPLE = {"ganlib": True}


def show_only_what_people_want() -> None:
    """The stages' output as plain lines; of Prefect itself only warnings, each once.

    What Prefect reports about runs is said by the flow itself or by the exit, and so is the loss of a server: Prefect
    would print each log and event that the server did not receive.
    """
    logging.raiseExceptions = False
    logging.getLogger("prefect._internal.concurrency").addFilter(lambda _record: False)
    prefect = logging.getLogger("prefect")
    prefect.propagate = False
    if not any(isinstance(handler, _Terminal) for handler in prefect.handlers):
        prefect.addHandler(_Terminal())


class _Terminal(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._warnings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line that was meant for people, or a new warning from elsewhere."""
        message = record.getMessage()
        if FOR_PEOPLE.items() <= vars(record).items():
            stage = vars(record).get("task_run_name")
            show(f"{stage} | {message}" if stage else message)
            return
        about_runs = record.name.startswith(("prefect.flow_runs", "prefect.task_runs"))
        if record.levelno >= logging.WARNING and not about_runs and message not in self._warnings:
            self._warnings.add(message)
            show(message)


def show(line: str) -> None:
    """Print it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
