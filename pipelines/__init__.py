"""From a folder of images to a registered generator: DVC stages, Prefect flows, MLflow tracking."""
