"""What a run and a model version were made from, as tags."""

import hashlib
import json

from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import PackedData
from pipelines.tracking.runs import surroundings

# What decides no figure of a generator: where work is done, and what becomes of it afterwards.
BESIDE_THE_RESULT = {"preprocess", "register_", "tracking", "flow"}


def content_tags(config: RunConfig, data: PackedData) -> dict[str, str]:
    """Digests of the packed data, both splits, and of the parameters that change a result."""
    sections = config.model_dump(mode="json", exclude=BESIDE_THE_RESULT)
    return {
        "data_sha256": hashlib.sha256(f"{data.train.digest} {data.test.digest}".encode()).hexdigest(),
        "params_sha256": hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest(),
    }


def version_tags(config: RunConfig, data: PackedData) -> dict[str, str]:
    """The same for a registered version, with the git commit where there is one."""
    around = surroundings()
    names = {"mlflow.source.git.commit": "git_commit", "ganlib.git_dirty": "git_dirty"}
    return content_tags(config, data) | {mine: around[theirs] for theirs, mine in names.items() if theirs in around}
