"""The servers that a run talks to."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx

from ganlib.errors import UserError
from pipelines.doctor.finding import Finding
from pipelines.registry.presence import check_experiment
from pipelines.tracking.health import check_health
from pipelines.tracking.store import redact

TIMEOUT_S = 3.0
_URL, _AUTH, _KEY = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"


def store(experiment: str | None) -> Iterator[Finding]:
    """Whether the MLflow store answers and can be used, and the experiment in it.

    Raises:
        UserError: it cannot.
    """
    told, client = check_health()
    if client is not None and experiment is not None:
        check_experiment(client, experiment)
    yield Finding(told)


def prefect() -> Iterator[Finding]:
    """Whether the Prefect server answers us, where one is configured.

    Prefect itself is not imported: it makes a folder in the user's home.

    Raises:
        UserError: it does not.
    """
    settings = {**_profile(), **os.environ}
    if settings.get(_URL):
        yield Finding(_ask_prefect(settings))
    else:
        yield Finding(f"{_URL} is not set: `gan run` starts a server for itself; schedules need one")


def _ask_prefect(settings: dict[str, str]) -> str:
    url = settings[_URL].rstrip("/")
    shown = f"{_URL}={redact(url)}"
    user, colon, password = settings.get(_AUTH, "").partition(":")
    headers = {"Authorization": f"Bearer {settings[_KEY]}"} if settings.get(_KEY) else {}
    try:
        answer = httpx.get(
            f"{url}/admin/version", timeout=TIMEOUT_S, headers=headers, auth=(user, password) if colon else None
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        start = "start one with `prefect server start`, or correct or unset it"
        raise UserError(
            f"{shown}: the Prefect server does not respond ({str(error) or type(error).__name__}); {start}"
        ) from None
    if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise UserError(
            f"{shown}: the server denies access ({answer.status_code}); set {_AUTH}=USER:PASSWORD to its value"
        )
    if answer.status_code != httpx.codes.OK or "json" not in answer.headers.get("content-type", ""):
        raise UserError(f"{shown}: found no Prefect API ({answer.status_code}); expected an address that ends in /api")
    return f"{shown} answers, Prefect {answer.json()}"


def _profile() -> dict[str, str]:
    """The settings of Prefect's active profile; empty where there is none."""
    file = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect", "profiles.toml")
    if not file.is_file():
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: damaged ({error}); correct it, or remove it to have Prefect make a new one") from None
    active = os.environ.get("PREFECT_PROFILE") or content.get("active")
    return {name: str(value) for name, value in content.get("profiles", {}).get(active, {}).items()}
