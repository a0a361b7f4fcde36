"""Runs by whatever people call them, on a real server."""

from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from ganlib.errors import UserError
from pipelines.registry.choosing import choose, newest
from pipelines.tracking.delivery import attach
from tests.mlflow_server import MlflowServer

EXPERIMENT = MODEL = "choosing"


@pytest.fixture(scope="module")
def runs(session_server: MlflowServer) -> dict[str, str]:
    """Ids by name: a first and a second run with a version each, two of one name, one that is deleted.

    A third version names no run, as those that are made on MLflow's pages.
    """
    client = MlflowClient(session_server.uri)
    experiment = client.create_experiment(EXPERIMENT)
    client.create_registered_model(MODEL)
    ids: dict[str, str] = {}
    for place, name in enumerate(["digits · seed 1", "it's", "twin", "twin", "gone"]):
        tags = {"generator_sha256": f"{place}" * 64}
        run = client.create_run(experiment, start_time=1000 + place, tags=tags, run_name=name)
        ids[name if name not in ids else "other twin"] = run.info.run_id
        if place < 2:
            client.create_model_version(MODEL, source=run.info.artifact_uri, run_id=run.info.run_id, tags=tags)
    model = client.create_logged_model(experiment).model_id
    client.create_model_version(MODEL, source=f"models:/{model}", model_id=model, tags={"generator_sha256": "3" * 64})
    client.set_registered_model_alias(MODEL, "champion", "1")
    client.delete_run(ids["gone"])
    return ids


@pytest.fixture
def chosen(server: MlflowServer, runs: dict[str, str]) -> Callable[..., list[tuple[str, str, str | None]]]:
    """(what it is called, run id, version) of each."""

    def pick(*wanted: str) -> list[tuple[str, str, str | None]]:
        return [
            (each.called, each.run.info.run_id, None if each.version is None else str(each.version.version))
            for each in choose(EXPERIMENT, MODEL, wanted)
        ]

    return pick


def test_by_alias_version_name_id_and_its_start(
    chosen: Callable[..., list[tuple[str, str, str | None]]], runs: dict[str, str]
) -> None:
    first, second = runs["digits · seed 1"], runs["it's"]
    assert chosen("champion", "2") == [("champion", first, "1"), ("version 2", second, "2")]
    assert chosen("digits · seed 1", "it's") == [("digits · seed 1", first, "1"), ("it's", second, "2")]
    assert chosen(first, second[:20]) == [("digits · seed 1", first, "1"), ("it's", second, "2")]
    twins = runs["twin"], runs["other twin"]
    assert chosen(*twins) == [
        (f"twin ({each[:8]})", each, version) for each, version in zip(twins, (None, "3"), strict=True)
    ]


def test_the_newest_in_the_order_of_time(server: MlflowServer, runs: dict[str, str]) -> None:
    found = [each.run.info.run_id for each in newest(EXPERIMENT, MODEL, 3)]
    assert found == [runs["it's"], runs["twin"], runs["other twin"]]
    with pytest.raises(UserError, match=r"tracking\.experiment=nowhere: holds 0 runs in http://127.* expected two"):
        newest("nowhere", MODEL, 3)


def test_what_is_not_there_or_not_one_is_told(
    chosen: Callable[..., list[tuple[str, str, str | None]]], runs: dict[str, str]
) -> None:
    first = runs["digits · seed 1"]
    mistakes = {
        "nobody": r"RUN=nobody: no run, .*=choosing: twin, twin, it's, digits · seed 1; .*: champion \(version 1\)$",
        "9": "RUN=9: no run, alias or version",
        "3": "model choosing, version 3: has no run; compare versions that the register stage created",
        "f" * 32: f"RUN={'f' * 32}: run {'f' * 32} is not in http",
        "twin": r"RUN=twin: matches the runs \w{8}, \w{8}; give more characters of an id",
        runs["gone"]: f"run {runs['gone']} is deleted; restore it with `mlflow runs restore --run-id {runs['gone']}`",
        "champion": f"{first} and champion: are the same run, {first}",
    }
    for wanted, told in mistakes.items():
        with pytest.raises(UserError, match=told):
            chosen(first, wanted)


def test_a_version_without_a_run_hides_no_run(server: MlflowServer, runs: dict[str, str]) -> None:
    assert attach(MlflowClient(server.uri), EXPERIMENT, "3" * 64, {}) == runs["other twin"]
