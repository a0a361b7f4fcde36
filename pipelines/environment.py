"""Telemetry off, and bounded waiting: the environment of this process and of its children."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ganlib
import pipelines

_QUIET = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

# MLflow reads these at every request. Its own defaults (7 retries, 120 s) let one call to a dead
# server block for minutes.
REQUEST_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
REQUEST_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
REQUEST_TIMEOUT_S = 5
PATIENT_TIMEOUT_S = 120
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_BOUNDED = {
    REQUEST_TIMEOUT: str(REQUEST_TIMEOUT_S),
    REQUEST_RETRIES: "0",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def quiet_environment() -> dict[str, str]:
    """The switches that keep every tool of the pipeline from phoning home, for a child's environment."""
    return dict(_QUIET)


def apply() -> None:
    """Set the switches and limits for this process and its children, before mlflow or prefect is imported.

    What the user has set stays as it is.
    """
    for name, value in {**_QUIET, **_BOUNDED, **_user()}.items():
        os.environ.setdefault(name, value)
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = _without_loopback(os.environ.get(name, ""))


@contextmanager
def patient() -> Iterator[None]:
    """Longer requests where nobody waits for an answer but the result of a long training; a user's limit stays."""
    usual = str(REQUEST_TIMEOUT_S)
    if os.environ.get(REQUEST_TIMEOUT) != usual:
        yield
        return
    os.environ[REQUEST_TIMEOUT] = str(PATIENT_TIMEOUT_S)
    try:
        yield
    finally:
        os.environ[REQUEST_TIMEOUT] = usual


def other_code(project: Path) -> str | None:
    """One line where this process runs other code than the project's own, such as that of another worktree."""
    for package in (ganlib, pipelines):
        running, own = Path(package.__path__[0]), project.resolve() / package.__name__
        if own.is_dir() and not own.samefile(running):
            return (
                f"this gan is that of {running.parent}, while the stages run the code in {own.parent}; activate the "
                "environment of the latter (`make run` makes one)"
            )
    return None


def set_by_user() -> dict[str, str]:
    """The variables of this process but those that `apply` has set."""
    ours = {**_QUIET, **_BOUNDED, **dict.fromkeys(("no_proxy", "NO_PROXY"), _without_loopback(""))}
    return {name: value for name, value in os.environ.items() if ours.get(name) != value}


def _without_loopback(exceptions: str) -> str:
    """The addresses that no proxy stands before, with those of this machine among them."""
    given = [host for host in exceptions.split(",") if host.strip()]
    return ",".join([*given, *(host for host in LOOPBACK if host not in given)])


def _user() -> dict[str, str]:
    """A name and a home for a user who has none, as in containers: DVC and Prefect fail without."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        return {"LOGNAME": f"uid-{os.getuid()}", "HOME": "/"}
    return {}
