"""Where the MLflow store is, whether it answers, and how journal entries get into it.

mlflow is imported when the store is first contacted: it takes more than a second.
"""

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from filelock import FileLock

from ganlib.errors import UserError
from pipelines import environment, paths
from pipelines.journal import Op, Refused, Unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"
LOCAL_DATABASE = "mlflow.db"
LOCAL_ARTIFACTS = "mlruns"
RUN_KEY = "ganlib.run_key"
GENERATOR_SHA256 = "generator_sha256"
RESTORED = "ganlib.restored"

_SQLITE = "sqlite:///"
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PARAMS_PER_REQUEST = 100
_DIGEST_LENGTH = 36  # MLflow's limit


class Ailing(Unreachable):
    """The store answers with a failure of its own: it may be ill, or choke on this one entry."""


def store_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite file in the project's folder."""
    return os.environ.get(URI_VARIABLE, "").strip() or f"{_SQLITE}{Path(LOCAL_DATABASE).absolute().as_posix()}"


def redact(text: str) -> str:
    """The text without user names, passwords and tokens in addresses."""
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    return re.sub(r"(?i)((?:password|passwd|token|secret)\w*=)[^&\s'\"]+", r"\1***", text)


def ensure_store() -> None:
    """Create the database's tables once, before anything fans out; nothing to do for a server.

    Raises:
        mlflow.exceptions.MlflowException: the database cannot be opened.
        OSError: the database's host does not answer.
    """
    connect()


def connect() -> "MlflowClient":
    """A client of the store, which is initialised under a lock when it is a database."""
    environment.apply()
    from mlflow import MlflowClient

    uri = store_uri()
    client = MlflowClient(tracking_uri=uri)
    if not uri.startswith(("http://", "https://")):
        _knock(uri)
        folder = _database_folder(uri) or Path.cwd()
        with FileLock(folder / paths.STORE_LOCK):
            client.search_experiments(max_results=1)
    return client


def _knock(uri: str) -> None:
    """Fail within seconds when a database server is away: MLflow itself retries for an hour."""
    address = urlsplit(uri)
    port = _DATABASE_PORTS.get(address.scheme.partition("+")[0])
    if address.hostname and port:
        timeout_s = environment.REQUEST_TIMEOUT_S
        socket.create_connection((address.hostname, address.port or port), timeout=timeout_s).close()


def _database_folder(uri: str) -> Path | None:
    if not uri.startswith(_SQLITE):
        return None
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute().parent


def check_store() -> None:
    """Ask the store for something small.

    Raises:
        UserError: it does not answer within a few seconds, or refuses.
    """
    with reachable():
        connect().search_experiments(max_results=1)


@contextmanager
def reachable() -> Iterator[None]:
    """Turn any failure of the store into one line for people.

    Raises:
        UserError: with the store's address (without secrets), the reason and what to do.
    """
    environment.apply()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        what_to_do = _advice() if _broken_contact(error) else "see the store's own log"
        raise UserError(f"{_shown_store()}: {reason(error)}; {what_to_do}") from None


def _shown_store() -> str:
    uri = redact(store_uri())
    return f"{URI_VARIABLE}={uri}" if os.environ.get(URI_VARIABLE, "").strip() else uri


def _advice() -> str:
    if not os.environ.get(URI_VARIABLE, "").strip():
        return f"mend or move away {LOCAL_DATABASE}"
    address = urlsplit(store_uri())
    start = "check that it runs"
    if address.scheme == "http" and address.hostname in {"127.0.0.1", "localhost"}:
        start = f"start it with `mlflow server --host 127.0.0.1 --port {address.port or 80}`"
    return f"{start} or unset the variable to use the local store"


def reason(error: BaseException) -> str:
    """Why a contact failed, in a few words and without secrets."""
    import requests

    contact = _broken_contact(error)
    if contact is None:
        return redact(" ".join(str(error).split()))[:300]
    if isinstance(contact, requests.Timeout | TimeoutError):
        return f"no answer within {os.environ[environment.REQUEST_TIMEOUT]} s"
    known = {"refused": "connection refused", "resolve": "unknown host name", "not known": "unknown host name"}
    return f"no answer ({next((words for mark, words in known.items() if mark in str(contact)), 'connection broken')})"


def _broken_contact(error: BaseException) -> BaseException | None:
    """The failure of the network behind an error, if there is one."""
    import requests

    kinds = (requests.ConnectionError, requests.Timeout, ConnectionError, TimeoutError, socket.gaierror)
    return next((cause for cause in _causes(error) if isinstance(cause, kinds)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def _judged() -> Iterator[None]:
    """Sort failures into `Unreachable` (with `Ailing`) and `Refused`."""
    environment.apply()
    import requests
    from mlflow.exceptions import MlflowException, RestException

    try:
        yield
    except (MlflowException, OSError) as error:
        why = reason(error)
        causes = list(_causes(error))
        if any(isinstance(cause, requests.exceptions.RetryError) for cause in causes):
            raise Ailing(why) from None
        answer = next((cause for cause in causes if isinstance(cause, requests.HTTPError)), None)
        if answer is not None and answer.response is not None:
            status = int(answer.response.status_code)
        elif _broken_contact(error) is not None:
            raise Unreachable(why) from None
        elif isinstance(error, MlflowException):
            status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        else:
            status = 500
        if status >= 500:
            raise Ailing(why) from None
        # A proxy or another server in the store's place, missing credentials, too many requests: not the entry's fault.
        if status in {401, 403, 407, 429} or (status == 404 and not isinstance(error, RestException)):
            raise Unreachable(why) from None
        raise Refused(why) from None
    except (ValueError, TypeError) as error:
        raise Refused(reason(error)) from None


class MlflowStore:
    """Journal entries into MLflow; made cheaply, connected at first use."""

    def __init__(self) -> None:
        self._uri = store_uri()
        self._client: MlflowClient | None = None

    @property
    def name(self) -> str:
        """The address without secrets."""
        return redact(self._uri)

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect()
        return self._client

    def open_run(self, op: Op) -> str:
        """Find or create the run of an `open` entry."""
        with _judged():
            client = self._connected()
            if op["by"] == GENERATOR_SHA256:
                return attach(client, op["experiment"], op[GENERATOR_SHA256], op["tags"])
            return _training(client, op)

    def write(self, run_id: str, ops: Sequence[Op], folder: Path) -> None:
        """Deliver one entry, or several metrics in one request."""
        with _judged():
            client = self._connected()
        if _attempt(client, run_id, ops, folder) is None:
            return
        # Ill, or choking on this entry? A harmless write tells, and then the entry has a second chance.
        with _judged():
            client.set_tag(run_id, "ganlib.journal", "delivering")
        ailment = _attempt(client, run_id, ops, folder)
        if ailment is not None:
            raise Refused(str(ailment))


def _attempt(client: "MlflowClient", run_id: str, ops: Sequence[Op], folder: Path) -> Ailing | None:
    try:
        with _judged():
            _write(client, run_id, ops, folder)
    except Ailing as error:
        return error
    return None


def _write(client: "MlflowClient", run_id: str, ops: Sequence[Op], folder: Path) -> None:
    from mlflow.entities import Metric, RunTag

    op = ops[0]
    match op["op"]:
        case "metrics":
            metrics = [
                Metric(key, value, entry["time_ms"], entry["step"])
                for entry in ops
                for key, value in entry["values"].items()
            ]
            client.log_batch(run_id, metrics=metrics)
        case "tags":
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in op["values"].items()])
        case "picture":
            pixels = np.load(folder / op["file"], allow_pickle=False)
            client.log_image(run_id, pixels, key=op["name"], step=op["step"], timestamp=op["time_ms"], synchronous=True)
        case "artifact":
            path = folder / op["file"] / op["name"]
            if path.is_dir():
                client.log_artifacts(run_id, str(path), f"{op['folder']}/{op['name']}".lstrip("/"))
            else:
                client.log_artifact(run_id, str(path), op["folder"] or None)
        case "finish":
            client.set_terminated(run_id, op["status"], end_time=op["time_ms"])
        case other:
            raise ValueError(f"unknown entry {other}")


def _training(client: "MlflowClient", op: Op) -> str:
    """The run with this key, running again, or a new one; parameters it lacks are added."""
    from mlflow.entities import Param

    experiment_id = find_or_create_experiment(client, op["experiment"])
    run = _newest(client, experiment_id, RUN_KEY, op[RUN_KEY])
    tags = {**op["tags"], RUN_KEY: op[RUN_KEY]}
    if run is None:
        run = client.create_run(experiment_id, start_time=op["time_ms"], tags=tags, run_name=op["run_name"])
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        _set_tags(client, run.info.run_id, tags)
    run_id: str = run.info.run_id
    missing = [Param(key, value) for key, value in op["params"].items() if key not in run.data.params]
    for start in range(0, len(missing), _PARAMS_PER_REQUEST):
        client.log_batch(run_id, params=missing[start : start + _PARAMS_PER_REQUEST])
    if op["dataset"] is not None:
        _log_dataset(client, run_id, op["dataset"])
    return run_id


def attach(client: "MlflowClient", experiment: str, generator_sha256: str, tags: Mapping[str, str]) -> str:
    """The newest run that made this generator; where the store has none, a new one marked as restored."""
    experiment_id = find_or_create_experiment(client, experiment)
    run = _newest(client, experiment_id, GENERATOR_SHA256, generator_sha256)
    if run is not None:
        _set_tags(client, run.info.run_id, tags)
        return str(run.info.run_id)
    identity = {**tags, GENERATOR_SHA256: generator_sha256, RESTORED: "true"}
    created = client.create_run(experiment_id, tags=identity, run_name=f"restored-{generator_sha256[:8]}")
    client.set_terminated(created.info.run_id, "FINISHED")
    return str(created.info.run_id)


def find_or_create_experiment(client: "MlflowClient", name: str) -> str:
    """The experiment's id. Artifacts of a SQLite store lie beside the database, whoever writes from where."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        folder = _database_folder(client.tracking_uri)
        location = None if folder is None else (folder / LOCAL_ARTIFACTS / re.sub(r"[^\w.-]", "_", name)).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was quicker
            if found is None:
                raise
    return str(found.experiment_id)


def _newest(client: "MlflowClient", experiment_id: str, tag: str, value: str) -> Any:
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`{tag}` = '{value}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def _set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    if tags:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _log_dataset(client: "MlflowClient", run_id: str, dataset: Mapping[str, Any]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(
        name=dataset["name"],
        digest=dataset["digest"][:_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": dataset["source"]}),
        profile=json.dumps(dataset["profile"]),
    )
    client.log_inputs(run_id, datasets=[DatasetInput(entity, tags=[InputTag("mlflow.data.context", "training")])])
