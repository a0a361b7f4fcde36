"""The Prefect API a run talks to: the configured one, or a server of its own for as long as it lasts."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
from prefect.context import get_settings_context
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOCAL_STORAGE_PATH,
    temporary_settings,
)

from ganlib.errors import UserError
from pipelines import paths
from pipelines.environment import LOOPBACK, quiet_environment
from pipelines.flows.failures import ServerFailed
from pipelines.graph import supervisor
from pipelines.graph.locking import hold

START_TIMEOUT_S = 180.0
PATIENCE_S = 15.0
POLL_S = 0.2
DRAIN_TIMEOUT_S = 20
# Nobody starts a server of our own again; Prefect's usual five tries take a minute for each request.
OWN_SERVER_RETRIES = 2
HOST = "127.0.0.1"


@contextlib.contextmanager
def prefect_api(project: Path, *, say: Callable[[str], None]) -> Iterator[None]:
    """A Prefect API for the flows that run inside.

    PREFECT_API_URL, from the environment or the active Prefect profile, wins.
    Without it a server of our own runs on this machine, with its history in
    the project's scratch folder; it is gone afterwards, whatever ends us.

    Raises:
        UserError: the configured server does not answer, or not any more.
        ServerFailed: the server of our own does not.
    """
    configured = configured_url()
    if configured:
        require_api(configured)
        with told_in_one_line(configured), _drained():
            yield
    else:
        storage = project / paths.PREFECT_HOME / "storage"
        with (
            _own_server(project, say) as url,
            temporary_settings(
                {
                    PREFECT_API_URL: url,
                    PREFECT_CLIENT_MAX_RETRIES: OWN_SERVER_RETRIES,
                    PREFECT_LOCAL_STORAGE_PATH: storage,
                },
                restore_defaults={PREFECT_API_AUTH_STRING, PREFECT_API_KEY},
            ),
            _drained(),
        ):
            yield


def configured_url() -> str | None:
    """The API that the environment or the active Prefect profile names."""
    return PREFECT_API_URL.value() or None


@contextlib.contextmanager
def _drained() -> Iterator[None]:
    """Afterwards, what is still on its way to the server has arrived."""
    workers = (APILogWorker, EventsWorker)
    for worker in workers:  # they warn that they have work left when they are asked to finish it
        logging.getLogger(worker.__name__).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for worker in workers:
            worker.drain_all(timeout=DRAIN_TIMEOUT_S)


def require_api(url: str) -> None:
    """Check that a Prefect server answers, and answers us.

    Raises:
        UserError: it does not.
    """
    from prefect.client.orchestration import get_client

    with told_in_one_line(url), temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        try:
            client.read_flow_runs(limit=1)  # which needs the password; the server's health is told to everybody
        except (ValueError, RuntimeError) as error:  # a page in place of an answer, or Prefect of another version
            raise PrefectException(str(error)) from error


@contextlib.contextmanager
def told_in_one_line(url: str | None = None) -> Iterator[None]:
    """Turn any failure of a Prefect server into one line for people.

    Raises:
        UserError: with the server's address, the reason and what to do.
    """
    url = url or PREFECT_API_URL.value() or "not set"
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise UserError(f"{_shown(url)}: {_refusal(url, error.response.status_code)}") from None
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException) as error:
        raise UserError(f"{_shown(url)}: the Prefect server does not respond ({_why(error)}); {_start(url)}") from None


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _start(url: str) -> str:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        return "correct or unset it"
    if address.host not in LOOPBACK:
        return "check that it is running, or correct or unset the address"
    return f"start it with `prefect --no-prompt server start --port {address.port or 80}`, or unset the address"


def _refusal(url: str, status: int) -> str:
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return f"the server denies access ({status}); set PREFECT_API_AUTH_STRING=USER:PASSWORD to its value"
    if not url.rstrip("/").endswith("/api"):
        return f"found no Prefect API ({status}); expected an address that ends in /api: {url.rstrip('/')}/api"
    return f"the server responds with status {status}; see its log"


def _shown(url: str) -> str:
    """The address and where it is set: the environment, or a profile of Prefect's."""
    if os.environ.get("PREFECT_API_URL"):
        return f"PREFECT_API_URL={url}"
    return f"PREFECT_API_URL={url} (from the Prefect profile {get_settings_context().profile.name})"


@contextlib.contextmanager
def _own_server(project: Path, say: Callable[[str], None]) -> Iterator[str]:
    """Start a server on a free port of this machine; gives the URL of its API."""
    home = (project / paths.PREFECT_HOME).resolve()
    log_file = home / "server.log"
    # One at a time: two servers that migrate one database destroy each other's work.
    with hold(home / "server.lock", on_wait=say) as lock, log_file.open("wb") as log:
        say("starting a Prefect server for this run")
        (home / "prefect.db").touch()  # SQLite would make one that only its owner may write, whatever the umask
        port = _free_port()
        server = supervisor.start(
            [sys.executable, "-P", "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)],
            cwd=home,
            # Settings that are meant for other servers, a password among them, would stop this one.
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
                **quiet_environment(),
                "PREFECT_HOME": str(home),
                "PREFECT_SERVER_UI_ENABLED": "false",
            },
            stdout=log,
            keep_open=[lock.descriptor],
        )
        try:
            url = f"http://{HOST}:{port}/api"
            _wait_until_healthy(url, server, log_file, say)
            yield url
        except (httpx.HTTPError, PrefectException) as error:
            raise ServerFailed(f"the Prefect server failed ({_why(error)}); see {log_file}, and run again") from None
        finally:
            supervisor.stop(server)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log_file: Path, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    next_word_s = PATIENCE_S
    while time.monotonic() - started < START_TIMEOUT_S:
        with contextlib.suppress(httpx.TransportError):  # not listening yet
            if httpx.get(f"{url}/health", timeout=POLL_S * 10).status_code == httpx.codes.OK:
                return
        if server.poll() is not None:
            raise ServerFailed(
                f"the Prefect server exited with code {server.returncode} while it started; see {log_file}"
            )
        if time.monotonic() - started > next_word_s:
            say(f"still waiting for the Prefect server ({next_word_s:.0f} of at most {START_TIMEOUT_S:.0f} s)")
            next_word_s += PATIENCE_S
        time.sleep(POLL_S)
    raise ServerFailed(f"the Prefect server did not start within {START_TIMEOUT_S:.0f} s; see {log_file}")


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
