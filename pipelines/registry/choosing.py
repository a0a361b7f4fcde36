"""Which runs people mean: by id, the start of an id, name, alias or version."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ganlib.errors import UserError
from pipelines.registry.presence import check_experiment
from pipelines.tracking.artifacts import RunArtifacts
from pipelines.tracking.delivery import GENERATOR_SHA256, PARENT
from pipelines.tracking.runs import GROUP_KIND
from pipelines.tracking.store import connect_to_read, reachable, redact, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_VERSION = re.compile(r"\d{1,9}")  # MLflow keeps it in 32 bits
_ID = re.compile(r"[0-9a-f]{32}")
_START_OF_ID = re.compile(r"[0-9a-f]{4,31}")
_NAMED = 5
_SHORT_ID = 8
_LOOKED_AT = 200


@dataclass(frozen=True)
class Chosen:
    """A run that was asked for.

    Attributes:
        called: by what people know it here: `champion`, `version 3`, or the run's name; no two are alike.
        run: of the training.
        artifacts: of the run.
        version: of the model, that holds the run's generator; None where none does.
        aliases: of that version.
    """

    called: str
    run: "Run"
    artifacts: RunArtifacts
    version: "ModelVersion | None"
    aliases: tuple[str, ...]


def choose(experiment: str, model: str, wanted: Sequence[str]) -> list[Chosen]:
    """The runs in the order asked for.

    Args:
        experiment: where names and starts of ids are looked for.
        model: whose aliases and versions are meant.
        wanted: for each run an alias or a version number of the model, an id, a name, or the unique start of an id.

    Raises:
        UserError: there is no such run, more than one, or one was asked for twice; the store does not answer.
    """
    with reachable():
        client = connect_to_read()
        check_experiment(client, experiment)
        found = [_choose(client, experiment, model, each) for each in wanted]
    first: dict[str, str] = {}
    for each, asked in zip(found, wanted, strict=True):
        run_id = each.run.info.run_id
        if run_id in first:
            raise UserError(
                f"{first[run_id]} and {asked}: are the same run, {run_id}; give two different runs: `gan history` "
                "shows which version was champion before"
            )
        first[run_id] = asked
    return _told_apart(found)


def newest(experiment: str, model: str, count: int) -> list[Chosen]:
    """The newest runs of the experiment, the newest last.

    Raises:
        UserError: there are fewer than two, or the store does not answer.
    """
    with reachable():
        client = connect_to_read()
        check_experiment(client, experiment)
        # What made the same generator again, or is one of several trainings, is no run of its own.
        found = _search(client, experiment, "", _LOOKED_AT)
        runs = [run for run in found if not {PARENT, GROUP_KIND} & run.data.tags.keys()][:count]
        if len(runs) < 2:
            raise UserError(
                f"tracking.experiment={experiment}: holds {len(runs)} runs in {redact(store_uri())}, expected two or "
                "more to compare; `gan repro` creates one"
            )
        return _told_apart([_of_run(client, model, run) for run in reversed(runs)])


def _choose(client: "MlflowClient", experiment: str, model: str, wanted: str) -> Chosen:
    registered = client.search_registered_models(f"name = '{model}'")
    aliases = {alias: str(number) for alias, number in registered[0].aliases.items()} if registered else {}
    if wanted in aliases:
        return _of_version(client, model, aliases[wanted], wanted)
    if _VERSION.fullmatch(wanted) and _has_version(client, model, wanted):
        return _of_version(client, model, str(int(wanted)), f"version {int(wanted)}")
    if _ID.fullmatch(wanted):
        return _of_run(client, model, _run(client, wanted, f"RUN={wanted}"))
    quote = '"' if "'" in wanted else "'"
    runs = _search(client, experiment, f"attributes.run_name = {quote}{wanted}{quote}", _NAMED + 1)
    if not runs and _START_OF_ID.fullmatch(wanted):
        runs = _search(client, experiment, f"attributes.run_id LIKE '{wanted}%'", _NAMED + 1)
    if not runs:
        raise UserError(_unknown(client, experiment, model, wanted, aliases))
    if len(runs) > 1:
        ids = ", ".join(run.info.run_id[:_SHORT_ID] for run in runs[:_NAMED])
        more = " and others" if len(runs) > _NAMED else ""
        raise UserError(f"RUN={wanted}: matches the runs {ids}{more}; give more characters of an id")
    return _of_run(client, model, runs[0])


def _unknown(client: "MlflowClient", experiment: str, model: str, wanted: str, aliases: dict[str, str]) -> str:
    names = [run.info.run_name for run in _search(client, experiment, "", _NAMED)]
    known = ", ".join(names) or "none; `gan repro` creates one"
    versions = ", ".join(f"{alias} (version {number})" for alias, number in aliases.items()) or "none"
    return (
        f"RUN={wanted}: no run, alias or version of this name in {redact(store_uri())}; the newest runs of "
        f"tracking.experiment={experiment}: {known}; aliases of register.model_name={model}: {versions}"
    )


def _search(client: "MlflowClient", experiment: str, filter_string: str, count: int) -> list["Run"]:
    """Runs that are not deleted, the newest first."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    return list(
        client.search_runs(
            [found.experiment_id], filter_string, max_results=count, order_by=["attributes.start_time DESC"]
        )
    )


def _has_version(client: "MlflowClient", model: str, number: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(model, number)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _of_version(client: "MlflowClient", model: str, number: str, called: str) -> Chosen:
    version = client.get_model_version(model, number)
    whose = f"model {model}, version {number}"
    if not version.run_id:  # None in a file, empty over HTTP
        raise UserError(f"{whose}: has no run; compare versions that the register stage created")
    run = _run(client, version.run_id, whose)
    return Chosen(called, run, RunArtifacts(client, version.run_id), version, tuple(version.aliases))


def _of_run(client: "MlflowClient", model: str, run: "Run") -> Chosen:
    digest = run.data.tags.get(GENERATOR_SHA256)
    versions = (
        client.search_model_versions(f"name = '{model}' and tags.{GENERATOR_SHA256} = '{digest}'") if digest else []
    )
    first = min(versions, key=lambda each: int(each.version), default=None)
    # What is found by a search lacks its aliases in some stores.
    version = None if first is None else client.get_model_version(model, first.version)
    aliases = () if version is None else tuple(version.aliases)
    return Chosen(run.info.run_name, run, RunArtifacts(client, run.info.run_id), version, aliases)


def _run(client: "MlflowClient", run_id: str, whose: str) -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(f"{whose}: run {run_id} is not in {redact(store_uri())}; choose another") from None
    if run.info.lifecycle_stage == "deleted":
        restore = f"mlflow runs restore --run-id {run_id}"
        raise UserError(f"{whose}: run {run_id} is deleted; restore it with `{restore}` or choose another")
    return run


def _told_apart(found: list[Chosen]) -> list[Chosen]:
    """Names that several share get the start of their run's id."""
    times = Counter(each.called for each in found)
    return [
        replace(each, called=f"{each.called} ({each.run.info.run_id[:_SHORT_ID]})") if times[each.called] > 1 else each
        for each in found
    ]
