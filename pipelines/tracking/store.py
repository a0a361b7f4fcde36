"""Where the MLflow store is, whether it answers, and what its failures mean.

mlflow is imported when the store is first contacted: it takes more than a second.
"""

import logging
import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from ganlib.errors import UserError
from pipelines import environment, paths
from pipelines.tracking.journal import Refused, Unreachable
from pipelines.tracking.moving import mend_moved

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)
URI_VARIABLE = "MLFLOW_TRACKING_URI"
LOCAL_DATABASE = paths.HOME / "mlflow.db"
_SQLITE = "sqlite:///"
# What MLflow's basic authentication answers, and its client tells.
_REFUSALS = {
    "Response body: 'You are not authenticated": (
        "the server does not know this account; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    ),
    "Response body: 'Permission denied'": (
        "the server does not permit this to this account; ask its administrator for EDIT on experiment and model"
    ),
}
_SERVER_PORTS = {"http": 80, "https": 443}
_DATABASE_PORTS = {"sqlite": 0, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


class StoreError(OSError):
    """A database cannot be opened."""


class Ailing(Unreachable):
    """The store answers with a failure of its own: it may be ill, or choke on this one entry."""


def store_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite file in the project's folder.

    Raises:
        UserError: the variable holds no address.
    """
    if not configured():
        return f"{_SQLITE}{LOCAL_DATABASE.absolute().as_posix()}"
    uri = os.environ[URI_VARIABLE].strip()
    try:
        address, port = urlsplit(uri), urlsplit(uri).port
    except ValueError as error:
        raise UserError(f"{URI_VARIABLE}={redact(uri)}: not an address ({error}); correct or unset it") from None
    kind = address.scheme.partition("+")[0]
    if kind not in {*_SERVER_PORTS, *_DATABASE_PORTS} or (kind != "sqlite" and not address.hostname):
        raise UserError(
            f"{URI_VARIABLE}={redact(uri)}: not an address; expected http://HOST:PORT, https://…, or a database such "
            "as sqlite:///PATH or postgresql://…; correct or unset it"
        )
    if uri.startswith(_SQLITE):
        path, mark, query = uri.removeprefix(_SQLITE).partition("?")
        return f"{_SQLITE}{(paths.HOME / path).resolve().as_posix()}{mark}{query}"
    if address.scheme not in _SERVER_PORTS:
        return uri
    # One server has one spelling: what waits for it is found again.
    user, at, _ = address.netloc.rpartition("@")
    host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
    shown_port = "" if port in {None, _SERVER_PORTS[address.scheme]} else f":{port}"
    return f"{address.scheme}://{user}{at}{host}{shown_port}{address.path.rstrip('/')}"


def configured() -> bool:
    """Whether the user names a store; without that it is the local one."""
    return bool(os.environ.get(URI_VARIABLE, "").strip())


def missing_database() -> Path | None:
    """The SQLite file that the store shall be, as long as it is not there: only who writes makes it."""
    file = database_file(store_uri())
    return None if file is None or file.exists() else file


def redact(text: str) -> str:
    """The text without user names, passwords and tokens in addresses."""
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    return re.sub(r"(?i)((?:password|passwd|token|secret)\w*=)[^&\s'\"]+", r"\1***", text)


def connect() -> "MlflowClient":
    """A client of the store. A database is initialised first, under a lock: two at once would fail.

    Raises:
        mlflow.exceptions.MlflowException, StoreError: the store cannot be opened; a server is not asked yet.
    """
    environment.apply()
    from mlflow import MlflowClient

    uri = store_uri()
    if urlsplit(uri).scheme.partition("+")[0] not in _DATABASE_PORTS:
        return MlflowClient(tracking_uri=uri)
    file = database_file(uri)
    with FileLock(paths.STORE_LOCK if file is None else _lock_beside(file)):
        if (new := missing_database()) is not None:
            _make(new)
        knock(uri)
        line = None if file is None else mend_moved(file)
        if line is not None:
            _log.warning("tracking: %s", line)
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _lock_beside(file: Path) -> Path:
    folder = file.with_name(paths.SCRATCH.name)
    with _making():
        folder.mkdir(parents=True, exist_ok=True)
    return folder / paths.STORE_LOCK.name


def _make(file: Path) -> None:
    """A database with its tables, made aside: MLflow cannot use one whose making was broken off.

    SQLite itself would make a file that only its owner may write, whatever the umask.
    """
    from mlflow import MlflowClient

    folder = file.with_name(paths.SCRATCH.name)
    aside = folder / f"{file.name}.{uuid.uuid4().hex}.partial"  # MLflow keeps a connection for each name
    with _making():
        for left_over in folder.glob(f"{file.name}.*.partial*"):
            left_over.unlink()
        aside.touch()
    MlflowClient(tracking_uri=f"{_SQLITE}{aside.as_posix()}").search_experiments(max_results=1)
    with _making():
        aside.replace(file)


@contextmanager
def _making() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot be created: {error}") from error


def connect_to_read() -> "MlflowClient":
    """A client of the store for who only reads, and therefore makes none.

    Raises:
        UserError: it is a SQLite file that is not there.
        mlflow.exceptions.MlflowException, StoreError: as `connect`.
    """
    check_there()
    return connect()


def check_there() -> None:
    """See that the store is no SQLite file that is not there; a server is not asked.

    Raises:
        UserError: it is.
    """
    if (file := missing_database()) is None:
        return
    if configured():
        raise UserError(
            f"{_shown_store()}: no such file, so it holds no runs and no models; correct the address, or unset the "
            "variable to use the store of the project's folder"
        )
    raise UserError(
        f"{file.name}: not in this folder, so there are no runs and no models; go to the project's folder, create some "
        f"with `gan repro`, or name another store in {URI_VARIABLE}"
    )


def knock(uri: str) -> None:
    """Fail within seconds where a database cannot be opened: MLflow itself would retry for an hour.

    Raises:
        StoreError: it cannot.
    """
    from sqlalchemy import NullPool, create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    address = urlsplit(uri)
    try:
        if address.hostname:
            port = address.port or _DATABASE_PORTS[address.scheme.partition("+")[0]]
            socket.create_connection((address.hostname, port), timeout=environment.REQUEST_TIMEOUT_S).close()
        inspect(create_engine(uri, poolclass=NullPool)).get_table_names()
    except (SQLAlchemyError, ImportError, OSError) as error:
        raise StoreError(f"cannot be opened: {error}") from error


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for every other store."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]).absolute()


def address_all_of_mlflow() -> None:
    """Name the store to what of MLflow takes no client; the variable, which MLflow sets then, stays the user's."""
    import mlflow

    before = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(store_uri())
    if before is None:
        os.environ.pop(URI_VARIABLE, None)


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
    import requests
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, StoreError, requests.RequestException) as error:
        if "database schema" in str(error):
            uri = redact(store_uri())
            raise UserError(
                f"{uri}: its schema belongs to another version of MLflow; if that version is older, make a backup and "
                f"run `mlflow db upgrade {uri}` (the older version cannot open it afterwards); if it is newer, install "
                "it here"
            ) from None
        told = "; ".join(part for part in (reason(error), _advice(error)) if part)
        raise UserError(f"{_shown_store()}: {told}") from None


def _shown_store() -> str:
    uri = redact(store_uri())
    return f"{URI_VARIABLE}={uri}" if configured() else uri


def _advice(error: BaseException) -> str:
    """What to do when the store is away; nothing where its own words have to be enough."""
    uri = store_uri()
    file = database_file(uri)
    if file is not None and isinstance(error, StoreError):
        if any(words in str(error) for words in ("locked", "unable to open", "cannot be created")):
            return f"close other programs that use {file.name}, check free space and permissions, and run again"
        return (
            f"if it is damaged, restore a backup of {file.name}; without a backup, rename it, and the next run creates "
            "an empty store"
        )
    if not configured() or (not isinstance(error, StoreError) and _broken_contact(error) is None):
        return ""
    address = urlsplit(uri)
    start = "check that it is running"
    if address.scheme == "http" and address.hostname in environment.LOOPBACK:
        start = (
            f"start it again with `mlflow server --host {address.hostname} --port {address.port or 80} "
            "--backend-store-uri STORE --artifacts-destination FOLDER`; the same STORE and FOLDER as before, since "
            "others give another, empty store"
        )
    return f"{start}; or unset the variable to use the project's own store, which has its own champion"


def reason(error: BaseException) -> str:
    """Why a contact failed, in a few words and without secrets."""
    import requests

    contact = _broken_contact(error)
    if contact is None:
        refused = next((told for words, told in _REFUSALS.items() if words in str(error)), None)
        return refused or redact(" ".join(str(error).split()))[:300]
    if isinstance(contact, requests.Timeout | TimeoutError) or "timed out" in str(contact):
        return f"no answer within {os.environ[environment.REQUEST_TIMEOUT]} s"
    known = {"refused": "connection refused", "resolve": "unknown host name", "not known": "unknown host name"}
    return f"no answer ({next((words for mark, words in known.items() if mark in str(contact)), 'connection broken')})"


def is_passing(error: BaseException) -> bool:
    """Whether the network or the server has failed, rather than refused: the same may go well later."""
    import requests

    if _broken_contact(error) is not None:
        return True
    for cause in _causes(error):
        answer = getattr(cause, "response", None)
        if isinstance(cause, requests.exceptions.RetryError) or getattr(answer, "status_code", 0) >= 500:
            return True
    return False


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
def judged() -> Iterator[None]:
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
            status = int(error.get_http_status_code())
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
