"""MLflow's pages on this project's runs."""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from ganlib.errors import UserError
from pipelines.environment import quiet_environment
from pipelines.graph import supervisor
from pipelines.tracking.moving import LOCAL_ARTIFACTS
from pipelines.tracking.store import connect_to_read, reachable, store_uri


def serve_ui(port: int) -> int:
    """Serve until interrupted, on 127.0.0.1; returns the exit code.

    However this process ends, the server ends, too.

    Raises:
        UserError: the runs are on a server, which has pages of its own, or the store is not there or cannot be opened.
    """
    uri = store_uri()
    if urlsplit(uri).scheme in {"http", "https"}:
        raise UserError("MLFLOW_TRACKING_URI names a server; open its address in a browser, or unset the variable")
    with reachable():
        connect_to_read()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--artifacts-destination", LOCAL_ARTIFACTS]
    environment = {**os.environ, **quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    sys.stdout.write(f"MLflow: http://127.0.0.1:{port} (Ctrl-C ends it)\n")
    sys.stdout.flush()
    with supervisor.signals_unwind():
        server = supervisor.start(command, cwd=Path.cwd(), env=environment, stdout=sys.stdout.fileno())
        try:
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            supervisor.stop(server)
