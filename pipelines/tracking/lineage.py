"""What a run and a model version were made from, as tags."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganlib.config import RunConfig, load_config
from ganlib.datasets.packed.reading import PackedData
from ganlib.errors import UserError
from pipelines import environment, paths
from pipelines.tracking.delivery import find_or_create_experiment, find_run
from pipelines.tracking.runs import TRAINING_ARTIFACTS, deliver_pending
from pipelines.tracking.store import connect, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What decides no figure of a generator: where work is done, and what becomes of it afterwards.
BESIDE_THE_RESULT = {"preprocess", "register_", "tracking", "flow"}
MADE_WITH = ("data", "extractor", "network", "loss", "augmentation", "train")
# A run's tags, and what they are called on a version.
_TAGS = {
    "mlflow.source.git.commit": "git_commit",
    "ganlib.git_dirty": "git_dirty",
    "data_sha256": "data_sha256",
    "params_sha256": "params_sha256",
}


def content_tags(config: RunConfig, data: PackedData) -> dict[str, str]:
    """Digests of the packed data, both splits, and of the parameters that change a result."""
    sections = config.model_dump(mode="json", exclude=BESIDE_THE_RESULT)
    return {
        "data_sha256": data_sha256(data),
        "params_sha256": hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest(),
    }


def data_sha256(data: PackedData) -> str:
    """Digest of the packed data, both splits."""
    return hashlib.sha256(f"{data.train.digest} {data.test.digest}".encode()).hexdigest()


@dataclass(frozen=True)
class Origin:
    """What a generator was made with, as its own run recorded it, and as tags of a version."""

    config: RunConfig
    tags: Mapping[str, str]


def origin(config: RunConfig, data: PackedData, generator_sha256: str) -> Origin:
    """Ask the generator's run for its parameters, data and commit; the files of this moment may be newer.

    A store without that run, as for a generator out of DVC's cache, leaves the present parameters, which DVC has
    compared, and no commit.

    Raises:
        UserError: the store does not answer.
    """
    with environment.patient(), reachable():
        deliver_pending()
        client = connect()
        experiment = find_or_create_experiment(client, config.tracking.experiment)
        run = find_run(client, experiment, generator_sha256)
        recorded = None if run is None else _recorded(client, run.info.run_id)
    if run is None or recorded is None:
        return Origin(config, content_tags(config, data))
    made_with = {name: getattr(recorded, name) for name in MADE_WITH}
    known = {mine: run.data.tags[theirs] for theirs, mine in _TAGS.items() if theirs in run.data.tags}
    return Origin(config.model_copy(update=made_with), content_tags(config, data) | known)


def _recorded(client: "MlflowClient", run_id: str) -> RunConfig | None:
    """The parameters that the run's training began with."""
    name = f"{TRAINING_ARTIFACTS}/{paths.PARAMS}"
    if name not in {each.path for each in client.list_artifacts(run_id, TRAINING_ARTIFACTS)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            return load_config(Path(client.download_artifacts(run_id, name, folder)))
        except UserError:  # of code that had other parameters
            return None
