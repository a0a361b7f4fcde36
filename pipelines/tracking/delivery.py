"""Journal entries into MLflow."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.tracking.descriptions import is_ours, sealed
from pipelines.tracking.experiment import NOTE, Experiment
from pipelines.tracking.journal import Op, Refused
from pipelines.tracking.moving import LOCAL_ARTIFACTS
from pipelines.tracking.store import (
    LOCAL_DATABASE,
    Ailing,
    configured,
    connect,
    database_file,
    judged,
    redact,
    store_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_KEY = "ganlib.run_key"
GENERATOR_SHA256 = "generator_sha256"
RESTORED = "ganlib.restored"
REPETITION_OF = "ganlib.repetition_of"
PARENT = "mlflow.parentRunId"
GROUP = "ganlib.group"  # the run key of the run that this one is to be nested below

_PARAMS_PER_REQUEST = 100
_DIGEST_LENGTH = 36  # MLflow's limit


class MlflowStore:
    """Journal entries into MLflow; made cheaply, connected at first use."""

    def __init__(self) -> None:
        self._uri = store_uri()
        self._client: MlflowClient | None = None

    @property
    def name(self) -> str:
        """The address without secrets; that of the project's own store moves with the project."""
        return redact(self._uri) if configured() else LOCAL_DATABASE.name

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect()
        return self._client

    def open_run(self, op: Op) -> str:
        """Find or create the run of an `open` entry."""
        with judged():
            client = self._connected()
            if op["by"] == GENERATOR_SHA256:
                return attach(client, op["experiment"], op[GENERATOR_SHA256], op["tags"])
            return _open_training(client, op)

    def write(self, run_id: str, ops: Sequence[Op], folder: Path) -> None:
        """Deliver one entry, or several metrics in one request."""
        with judged():
            client = self._connected()
        if _attempt(client, run_id, ops, folder) is None:
            return
        # Ill, or choking on this entry? A harmless write tells, and then the entry has a second chance.
        with judged():
            client.set_tag(run_id, "ganlib.journal", "delivering")
        ailment = _attempt(client, run_id, ops, folder)
        if ailment is not None:
            raise Refused(str(ailment))


def _attempt(client: "MlflowClient", run_id: str, ops: Sequence[Op], folder: Path) -> Ailing | None:
    try:
        with judged():
            _write(client, run_id, ops, folder)
    except Ailing as error:
        return error
    return None


def _write(client: "MlflowClient", run_id: str, ops: Sequence[Op], folder: Path) -> None:
    from mlflow.entities import Metric, RunTag

    op = ops[0]
    match op["op"]:
        case "metrics":
            metrics = [
                Metric(key, value, entry["time_ms"], entry["step"])
                for entry in ops
                for key, value in entry["values"].items()
            ]
            client.log_batch(run_id, metrics=metrics)
        case "tags":
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in op["values"].items()])
        case "picture":
            pixels = np.load(folder / op["file"], allow_pickle=False)
            client.log_image(run_id, pixels, key=op["name"], step=op["step"], timestamp=op["time_ms"], synchronous=True)
        case "artifact":
            path = folder / op["file"] / op["name"]
            if path.is_dir():
                client.log_artifacts(run_id, str(path), f"{op['folder']}/{op['name']}".lstrip("/"))
            else:
                client.log_artifact(run_id, str(path), op["folder"] or None)
        case "describe":
            describe_run(client, run_id, op["text"])
        case "made":
            _note_generator(client, run_id, op[GENERATOR_SHA256])
        case "nest":
            _nest(client, run_id, op[GENERATOR_SHA256])
        case "finish":
            client.set_terminated(run_id, op["status"], end_time=op["time_ms"])
        case other:
            raise ValueError(f"unknown entry {other}")


def _open_training(client: "MlflowClient", op: Op) -> str:
    """The run with this key, running again, or a new one; parameters it lacks are added."""
    from mlflow.entities import Param

    experiment = Experiment(**op["experiment"])
    experiment_id = find_or_create_experiment(client, experiment.name)
    experiment.describe(client, experiment_id, op["time_ms"])
    run = _newest(client, experiment_id, RUN_KEY, op[RUN_KEY])
    tags = {**op["tags"], RUN_KEY: op[RUN_KEY]}
    if run is None:
        name = _free_name(client, experiment_id, op["run_name"])
        run = client.create_run(experiment_id, start_time=op["time_ms"], tags=tags, run_name=name)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        _set_tags(client, run.info.run_id, tags)
    run_id: str = run.info.run_id
    group = _newest(client, experiment_id, RUN_KEY, tags[GROUP]) if GROUP in tags else None
    if group is not None:
        client.set_tag(run_id, PARENT, group.info.run_id)
    missing = [Param(key, value) for key, value in op["params"].items() if key not in run.data.params]
    for start in range(0, len(missing), _PARAMS_PER_REQUEST):
        client.log_batch(run_id, params=missing[start : start + _PARAMS_PER_REQUEST])
    if op["dataset"] is not None:
        _log_dataset(client, run_id, op["dataset"])
    return run_id


def _free_name(client: "MlflowClient", experiment_id: str, name: str) -> str:
    """The name, with a number where runs of the experiment have it already."""
    like = re.sub("['\"]", "_", name)  # which stands for any letter
    found = client.search_runs([experiment_id], filter_string=f"attributes.run_name LIKE '{like}%'", max_results=5000)
    taken = {run.info.run_name for run in found}
    numbered = (name if number == 1 else f"{name} · no. {number}" for number in itertools.count(1))
    return next(each for each in numbered if each not in taken)


def _note_generator(client: "MlflowClient", run_id: str, generator_sha256: str) -> None:
    """The run is the generator's; or, where another run made the same one before, a repetition nested below that."""
    experiment_id = client.get_run(run_id).info.experiment_id
    first = find_run(client, experiment_id, generator_sha256)
    if first is None or first.info.run_id == run_id:
        client.set_tag(run_id, GENERATOR_SHA256, generator_sha256)
        return
    name = _free_name(client, experiment_id, f"{first.info.run_name} · repetition")
    client.update_run(run_id, name=name)
    told = f"Produces the same generator as {first.info.run_name}; that run has the evaluation, verdict and report."
    _set_tags(client, run_id, {PARENT: first.info.run_id, REPETITION_OF: first.info.run_id})
    describe_run(client, run_id, told)


def _nest(client: "MlflowClient", group_id: str, generator_sha256: str) -> None:
    """Put the run that made a generator below another run; one that is below a third stays there."""
    run = find_run(client, client.get_run(group_id).info.experiment_id, generator_sha256)
    if run is not None and PARENT not in run.data.tags:
        client.set_tag(run.info.run_id, PARENT, group_id)


def describe_run(client: "MlflowClient", run_id: str, text: str) -> bool:
    """Describe a run in Markdown; False where a person has written its description, which stays."""
    if not is_ours(client.get_run(run_id).data.tags.get(NOTE)):
        return False
    client.set_tag(run_id, NOTE, sealed(text))
    return True


def attach(client: "MlflowClient", experiment: str, generator_sha256: str, tags: Mapping[str, str]) -> str:
    """The run of the version that holds this generator, else the newest one that made it.

    So what is found of a registered generator later stands where its version points. A store without such a run gets
    one that is marked as restored.
    """
    experiment_id = find_or_create_experiment(client, experiment)
    run = find_run(client, experiment_id, generator_sha256)
    if run is not None:
        _set_tags(client, run.info.run_id, tags)
        return str(run.info.run_id)
    identity = {**tags, GENERATOR_SHA256: generator_sha256, RESTORED: "true"}
    created = client.create_run(experiment_id, tags=identity, run_name=f"restored-{generator_sha256[:8]}")
    client.set_terminated(created.info.run_id, "FINISHED")
    return str(created.info.run_id)


def find_run(client: "MlflowClient", experiment_id: str, generator_sha256: str) -> Any:
    """The run of the version that holds this generator, else the newest one that made it; None without one."""
    registered = _registered(client, experiment_id, generator_sha256)
    return registered or _newest(client, experiment_id, GENERATOR_SHA256, generator_sha256)


def _registered(client: "MlflowClient", experiment_id: str, generator_sha256: str) -> Any:
    from mlflow.exceptions import MlflowException

    found = client.search_model_versions(f"tags.{GENERATOR_SHA256} = '{generator_sha256}'")
    for version in sorted(found, key=lambda each: int(each.version)):
        if not version.run_id:  # None in a file, empty over HTTP
            continue
        try:
            run = client.get_run(version.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            continue
        if run.info.experiment_id == experiment_id and run.info.lifecycle_stage == "active":
            return run
    return None


def find_or_create_experiment(client: "MlflowClient", name: str) -> str:
    """The experiment's id. Artifacts of a SQLite store lie beside the database, whoever writes from where."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        file = database_file(client.tracking_uri)
        location = None if file is None else (file.with_name(LOCAL_ARTIFACTS) / re.sub(r"[^\w.-]", "_", name)).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was quicker
            if found is None:
                raise
    return str(found.experiment_id)


def _newest(client: "MlflowClient", experiment_id: str, tag: str, value: str) -> Any:
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`{tag}` = '{value}'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    return found[0] if found else None


def _set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    if tags:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _log_dataset(client: "MlflowClient", run_id: str, dataset: Mapping[str, Any]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(
        name=dataset["name"],
        digest=dataset["digest"][:_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": dataset["source"]}),
        profile=json.dumps(dataset["profile"]),
    )
    client.log_inputs(run_id, datasets=[DatasetInput(entity, tags=[InputTag("mlflow.data.context", "training")])])
