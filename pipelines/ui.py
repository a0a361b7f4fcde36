"""MLflow's pages on this project's runs."""

import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

from ganlib.errors import UserError
from pipelines.environment import quiet_environment
from pipelines.mlflow_store import LOCAL_ARTIFACTS, ensure_store, store_uri


def serve_ui(port: int) -> int:
    """Serve until interrupted, on 127.0.0.1; returns the exit code.

    Raises:
        UserError: the runs are on a server, which has pages of its own.
    """
    uri = store_uri()
    if urlsplit(uri).scheme in {"http", "https"}:
        raise UserError("MLFLOW_TRACKING_URI names a server; open its address in a browser, or unset the variable")
    ensure_store()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--artifacts-destination", LOCAL_ARTIFACTS]
    environment = {**os.environ, **quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    sys.stdout.write(f"MLflow: http://127.0.0.1:{port} (Ctrl-C ends it)\n")
    sys.stdout.flush()
    server = subprocess.Popen(command, env=environment)
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.send_signal(signal.SIGINT)
        server.wait()
        return 0
