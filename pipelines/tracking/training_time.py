"""How long a training took, as the store knows it."""

from pipelines import environment
from pipelines.tracking.delivery import find_or_create_experiment, find_run
from pipelines.tracking.headline import TRAINED
from pipelines.tracking.store import connect, reachable


def training_minutes(experiment: str, generator_sha256: str) -> float | None:
    """How long the training of a generator took, over all its goes; None where the store does not know.

    Raises:
        UserError: the store does not answer.
    """
    with environment.patient(), reachable():
        client = connect()
        run = find_run(client, find_or_create_experiment(client, experiment), generator_sha256)
    return None if run is None else run.data.metrics.get(f"{TRAINED}/minutes")
