"""Whether the store can be used, found out without making or changing anything."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ganlib.errors import UserError
from pipelines.tracking.store import (
    LOCAL_DATABASE,
    URI_VARIABLE,
    StoreError,
    configured,
    database_file,
    knock,
    missing_database,
    reachable,
    redact,
    store_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


def check_health() -> tuple[str, "MlflowClient | None"]:
    """Ask the store for something small, and a database for the version of its tables.

    Returns:
        What it is, for people, and a client of it; None where there is no store yet, or opening one would change it.

    Raises:
        UserError: it does not answer within a few seconds, its tables are those of another MLflow, or the variable
            names no store.
    """
    uri = store_uri()
    shown = redact(uri)
    if urlsplit(uri).scheme in {"http", "https"}:
        with reachable():
            from mlflow import MlflowClient

            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        return f"{shown} answers", client
    if missing_database() is not None:
        if configured():
            raise UserError(f"{URI_VARIABLE}={shown}: no such file; correct or unset the variable")
        return f"{LOCAL_DATABASE.name} does not exist yet; the first run creates it", None
    _check_tables(uri, database_file(uri))
    return f"{shown}: its schema matches the installed MLflow", None


def _check_tables(uri: str, file: Path | None) -> None:
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import SQLAlchemyError

    # A SQLite file is opened so that nothing can be written, not even beside it.
    address = uri if file is None else f"sqlite:///file:{quote(str(file))}?mode=ro&uri=true"
    with reachable():
        from mlflow.store.db.utils import _verify_schema

        if file is None:
            knock(uri)
        try:
            _verify_schema(create_engine(address, poolclass=NullPool))
        except SQLAlchemyError as error:
            raise StoreError(f"cannot be opened: {error}") from error
