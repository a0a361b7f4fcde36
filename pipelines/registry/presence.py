"""One question to the store as a run begins: can it take what is logged, does it hold what the last report names?"""

import contextlib
import functools
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ganlib.errors import UserError
from pipelines import environment, paths
from pipelines.exit_codes import USER_ERROR_EXIT_CODE, fail
from pipelines.graph import streaming
from pipelines.registry.verdict import Registration
from pipelines.tracking.delivery import GENERATOR_SHA256
from pipelines.tracking.store import (
    StoreError,
    configured,
    connect,
    is_passing,
    missing_database,
    reachable,
    reason,
    redact,
    store_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SERVERS = {"http", "https"}
_ERROR = "error: "
_NICE = 10  # the first stage waits for Prefect and DVC, and rarely for the store's answer


@contextlib.contextmanager
def registry_check(project: Path, experiment: str, *, say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """`check_registry` by a process of its own while the caller does other things, as MLflow takes seconds to start.

    What it yields waits for the answer: whether the register stage has to run again; it may be asked again. It raises
    what check_registry raises.
    """
    report = project / paths.REGISTRATION
    is_there = report.exists()
    command = [sys.executable, "-P", "-m", __name__, str(project), experiment]
    with contextlib.closing(streaming.Command(command, cwd=Path.cwd(), env=os.environ)) as at_work:

        @functools.cache
        def wait() -> bool:
            lines = list(at_work)
            mistakes = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
            if at_work.exit_code == USER_ERROR_EXIT_CODE:
                raise UserError("\n".join(mistakes))
            for line in lines:
                say(line)
            if at_work.exit_code != 0:
                raise RuntimeError(f"{__name__} ended with exit code {at_work.exit_code}")
            return is_there and not report.exists()

        yield wait


def check_registry(project: Path, experiment: str, *, say: Callable[[str], None]) -> None:
    """Have the register stage run again where the store does not hold what its last report names.

    That is so after a clone, as git keeps the report, with another store, and when the store was deleted. A store that
    is away stops nothing.

    Args:
        project: its folder.
        experiment: where runs go.
        say: hears what is found.

    Raises:
        UserError: the store answers and cannot work: its experiment is deleted, its tables are those of another
            version, its artifacts are to lie in a folder of another machine, or it refuses us.
    """
    report = project / paths.REGISTRATION
    if (missing := missing_database()) is not None:
        if report.exists():
            shown = redact(store_uri()) if configured() else missing.name
            _forget(report, f"{shown} does not exist, so there is no registry", say)
        return
    environment.apply()
    import requests
    from mlflow.exceptions import MlflowException

    try:
        client = connect()
        check_experiment(client, experiment)
        if report.exists() and not _holds(client, Registration.read(report)):
            _forget(report, f"{redact(store_uri())} lacks the version of the last report", say)
    except (MlflowException, StoreError, requests.RequestException) as error:
        if is_passing(error) or "locked" in str(error):
            say(f"{redact(store_uri())} does not respond ({reason(error)}); what is logged is kept until it does")
            return
        with reachable():
            raise


def _forget(report: Path, why: str, say: Callable[[str], None]) -> None:
    say(f"{why}; removing {paths.REGISTRATION} to register again")
    report.unlink()


def _holds(client: "MlflowClient", registration: Registration) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version(registration.model_name, registration.version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return bool(version.tags.get(GENERATOR_SHA256) == registration.generator_sha256)


def check_experiment(client: "MlflowClient", name: str) -> None:
    """See that an experiment is not deleted, and that its artifacts can be reached from this machine.

    Raises:
        UserError: they cannot.
    """
    found = client.get_experiment_by_name(name)
    uri = store_uri()
    if found is not None and found.lifecycle_stage == "deleted":
        address = shlex.quote(f"MLFLOW_TRACKING_URI={redact(uri)}")
        restore = f"env {address} mlflow experiments restore --experiment-id {found.experiment_id}"
        raise UserError(
            f"tracking.experiment={name}: deleted in {redact(uri)}; restore it with `{restore}` or choose another"
        )
    server = urlsplit(uri)
    if server.scheme not in _SERVERS or server.hostname in environment.LOOPBACK:
        return
    # One that is not made yet lies where the first one does, unless the server has learned to serve artifacts since.
    place = urlsplit((found or client.get_experiment("0")).artifact_location)
    if place.scheme not in {"", "file"} or Path(unquote(place.path)).is_dir():
        return
    if found is not None or not _serves_artifacts(uri):
        another = (
            f", and choose another tracking.experiment, because {name} keeps its folder" if found is not None else ""
        )
        raise UserError(
            f"{redact(uri)}: stores artifacts in the folder {unquote(place.path)}, which is not on this machine; "
            f"start the server with `--serve-artifacts` and `--artifacts-destination FOLDER`{another}"
        )


def _serves_artifacts(uri: str) -> bool:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    credentials = get_default_host_creds(uri)
    address = "/api/2.0/mlflow-artifacts/artifacts"
    answer = http_request(credentials, address, "GET", raise_on_status=False)
    return bool(answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE)


def main(project: str, experiment: str) -> int:
    """`check_registry` as a command; the exit code."""
    os.nice(_NICE)
    try:
        check_registry(Path(project), experiment, say=lambda line: print(line, flush=True))  # noqa: T201
    except UserError as error:
        return fail(str(error), USER_ERROR_EXIT_CODE)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
