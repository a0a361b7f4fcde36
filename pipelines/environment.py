"""What every child process is told by its environment."""


def quiet_environment() -> dict[str, str]:
    """The variables that switch off telemetry in DVC, MLflow and Prefect."""
    return {
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
