"""The model registry: one version per generator, the gate, and the aliases `challenger` and `champion`.

The writes are ordered so that being stopped between any two of them and run again ends in the same state:
a version is created together with its tags; the verdict is written before `champion` moves, and `pipelines.champion`
moves it.
"""

import importlib.metadata
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

import ganlib
from ganlib.config import RegisterOptions
from ganlib.errors import UserError
from ganlib.packaging import generator_sha256
from pipelines import environment, paths
from pipelines.champion import CHALLENGER, CHAMPION, REGISTRY_LOCK, Overtaken, Say, Wish, move, settle
from pipelines.gate import Verdict, decide
from pipelines.history import GATE, UNKNOWN, Ledger, shortened
from pipelines.mlflow_delivery import GENERATOR_SHA256, attach, find_or_create_experiment
from pipelines.mlflow_store import connect, reachable, store_uri
from pipelines.tracking import deliver_pending

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

MODEL_CODE = Path(__file__).with_name("model_code.py")
REQUIREMENTS = ("mlflow", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "torch")

_UPLOAD_TIMEOUT_S = 120
_INPUT_EXAMPLE = [{"count": 1, "seed": 0}]


@dataclass(frozen=True)
class Registration:
    """A registered version and the gate's decision about it; scores are None where there is none."""

    model_name: str
    version: str
    aliases: tuple[str, ...]
    metric: str
    challenger_score: float
    champion_score: float | None
    champion_version: str | None
    margin: float
    promoted: bool
    reason: str
    generator_sha256: str

    def to_json(self) -> dict[str, Any]:
        """The registration for JSON: no dates, run ids or host names; a score that is no number is None."""
        return {key: None if _not_finite(value) else value for key, value in asdict(self).items()}


def _not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def register(
    *,
    options: RegisterOptions,
    experiment: str,
    generator_folder: Path,
    evaluation: Mapping[str, Any],
    tags: Mapping[str, str],
    rescore: Callable[[Path], float],
    say: Say = lambda _: None,
) -> Registration:
    """Make the generator a version of the model, and the champion if it passes the gate.

    Args:
        options: model name, metric and margin.
        experiment: where the run that made the generator is.
        generator_folder: what `ImageGenerator.save` wrote.
        evaluation: the parsed evaluation report: `measured_on` and `metrics[name]["value"]`.
        tags: set on the version: git commit, data hash, parameters hash.
        rescore: measures another saved generator as the evaluation did; called when the champion's own
            score was measured on something else. Raises `UserError` where the two cannot be compared.
        say: hears whom the gate waits for.

    Raises:
        UserError: the store does not answer, the generator is missing, or the report is damaged or lacks the metric.
    """
    digest = generator_sha256(generator_folder)
    score, measured_on = _measured(evaluation, options.metric)
    identity = {
        **tags,
        GENERATOR_SHA256: digest,
        "metric": options.metric,
        "score": repr(score),
        "measured_on": measured_on,
    }
    deliver_pending()
    paths.SCRATCH.mkdir(exist_ok=True)
    with FileLock(REGISTRY_LOCK), reachable(), _patient():
        client = connect()
        version = _find_or_create_version(client, options.model_name, experiment, generator_folder, identity)
        client.set_registered_model_alias(options.model_name, CHALLENGER, version.version)
        return _judge(client, options, version, score, rescore, say)


def _measured(evaluation: object, metric: str) -> tuple[float, str]:
    """The score, and what it was measured on."""
    match evaluation:
        case {"measured_on": str(measured_on), "metrics": {**metrics}}:
            pass
        case _:
            raise UserError(f"{paths.EVALUATION}: expected measured_on and metrics; run the evaluate stage again")
    if metric not in metrics:
        found = ", ".join(map(str, metrics)) or "none"
        raise UserError(f"register.metric={metric}: not in {paths.EVALUATION} (found: {found}); evaluate again")
    match metrics[metric]:
        case {"value": int(value) | float(value)} if not isinstance(value, bool):
            return float(value), measured_on
        case record:
            shown = repr(record)[:100]
            raise UserError(
                f"{paths.EVALUATION}: found {shown} for {metric}, expected an object with a number as its value; "
                "run the evaluate stage again"
            )


@contextmanager
def _patient() -> Iterator[None]:
    """Longer requests while a model is uploaded, unless the user has set a limit."""
    name, usual = environment.REQUEST_TIMEOUT, str(environment.REQUEST_TIMEOUT_S)
    if os.environ.get(name) != usual:
        yield
        return
    os.environ[name] = str(_UPLOAD_TIMEOUT_S)
    try:
        yield
    finally:
        os.environ[name] = usual


def _find_or_create_version(
    client: "MlflowClient", name: str, experiment: str, folder: Path, identity: Mapping[str, str]
) -> "ModelVersion":
    """The version that already holds this generator, with its tags brought up to date, or a new one."""
    from mlflow.exceptions import MlflowException

    digest = identity[GENERATOR_SHA256]
    found = client.search_model_versions(f"name = '{name}' and tags.{GENERATOR_SHA256} = '{digest}'")
    if found:
        version = min(found, key=lambda each: int(each.version))
        for key, value in identity.items():
            if version.tags.get(key) != value:
                client.set_model_version_tag(name, version.version, key, value)
        return client.get_model_version(name, version.version)
    run_id = attach(client, experiment, digest, {})
    experiment_id = find_or_create_experiment(client, experiment)
    model = _find_or_log_model(client, experiment_id, run_id, folder, digest)
    try:
        client.create_registered_model(name, description="Image generator; versions pass a gate to become champion.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        name, source=f"models:/{model.model_id}", run_id=run_id, tags=dict(identity), model_id=model.model_id
    )


def _find_or_log_model(
    client: "MlflowClient", experiment_id: str, run_id: str, folder: Path, digest: str
) -> "LoggedModel":
    """A complete logged model of this generator; incomplete ones of an interrupted try are removed."""
    import mlflow
    from mlflow.models import Model

    known = client.search_logged_models([experiment_id], filter_string=f"tags.{GENERATOR_SHA256} = '{digest}'")
    for model in known:
        if model.status == "READY":
            return model
    for model in known:
        client.delete_logged_model(model.model_id)
    model = client.create_logged_model(
        experiment_id,
        name="generator",
        source_run_id=run_id,
        tags={GENERATOR_SHA256: digest},
        params=client.get_run(run_id).data.params,
    )
    mlflow.set_tracking_uri(store_uri())  # Model.log knows no client
    with warnings.catch_warnings():
        # MLflow's own types provoke this when mlflow.pyfunc is imported.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=model.model_id,
            python_model=str(MODEL_CODE),
            artifacts={"generator": str(folder)},
            code_paths=[str(Path(ganlib.__file__).parent)],
            pip_requirements=_requirements(),
            input_example=_INPUT_EXAMPLE,
        )
    return client.get_logged_model(model.model_id)


def _requirements() -> list[str]:
    """The installed versions, without the local part that names a build such as +cpu."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS]


def _judge(
    client: "MlflowClient",
    options: RegisterOptions,
    version: "ModelVersion",
    score: float,
    rescore: Callable[[Path], float],
    say: Say,
) -> Registration:
    """Decide, write the decision down, and only then move the alias; anew if people move it in the meantime."""
    name, number = options.model_name, str(version.version)
    ledger, _ = settle(client, name, say=say)
    champion_number = ledger.champion
    if champion_number == number:
        return _already_champion(options, version, score, ledger)
    champion_score: float | None = None
    try:
        if champion_number is not None:
            champion = client.get_model_version(name, champion_number)
            champion_score = _champion_score(champion, version, rescore)
        verdict = decide(metric=options.metric, challenger=score, champion=champion_score, margin=options.margin)
        verdict = _heed_people(verdict, ledger, version)
    except UserError as error:
        verdict = Verdict(False, f"Not comparable with version {champion_number}: {error}; {_by_hand(number)}.")
    gate = {
        "gate.champion_version": champion_number or "",
        "gate.champion_score": "" if champion_score is None else repr(champion_score),
        "gate.margin": repr(options.margin),
        "gate.promoted": json.dumps(verdict.promoted),
        "gate.reason": verdict.reason,
    }
    for key, value in gate.items():
        client.set_model_version_tag(name, number, key, value)
    client.update_model_version(name, number, description=verdict.reason)
    if verdict.promoted:
        wish = Wish("promote", number, GATE, shortened(verdict.reason))
        try:
            move(client, name, wish, say=say, seen=champion_number)
        except Overtaken:
            return _judge(client, options, version, score, rescore, say)
    return Registration(
        model_name=name,
        version=number,
        aliases=(CHALLENGER, CHAMPION) if verdict.promoted else (CHALLENGER,),
        metric=options.metric,
        challenger_score=score,
        champion_score=champion_score,
        champion_version=champion_number,
        margin=options.margin,
        promoted=verdict.promoted,
        reason=verdict.reason,
        generator_sha256=version.tags[GENERATOR_SHA256],
    )


def _heed_people(verdict: Verdict, ledger: Ledger, version: "ModelVersion") -> Verdict:
    """The gate does not give the alias back to a generator that a person has taken it from: people know more."""
    number = str(version.version)
    taken = ledger.taken_by_person(number, version.tags[GENERATOR_SHA256])
    if taken is None or not verdict.promoted:
        return verdict
    how = "Rolled back" if taken.action == "rollback" else "Replaced as champion"
    return Verdict(False, f"{how} by {taken.who} at {taken.when} ({taken.why}); {_by_hand(number)}. {verdict.reason}")


def _by_hand(number: str) -> str:
    return f"to promote it all the same: `gan promote {number} --reason …`"


def _already_champion(options: RegisterOptions, version: "ModelVersion", score: float, ledger: Ledger) -> Registration:
    """Nothing moves; the decision that made it champion is told again."""
    recorded = version.tags
    last = ledger.done[-1]
    by_gate = last.who in {GATE, UNKNOWN} and recorded.get("gate.promoted") == "true"
    told = recorded["gate.reason"] if by_gate else f"By {last.who}: {last.why}"
    return Registration(
        model_name=options.model_name,
        version=str(version.version),
        aliases=(CHALLENGER, CHAMPION),
        metric=options.metric,
        challenger_score=score,
        champion_score=float(recorded["gate.champion_score"]) if recorded.get("gate.champion_score") else None,
        champion_version=recorded.get("gate.champion_version") or None,
        margin=options.margin,
        promoted=recorded.get("gate.promoted") == "true",
        reason=f"Already the champion. {told}",
        generator_sha256=recorded[GENERATOR_SHA256],
    )


def _champion_score(champion: "ModelVersion", challenger: "ModelVersion", rescore: Callable[[Path], float]) -> float:
    """The champion's recorded score where it was measured alike, otherwise a new measurement."""
    if all(champion.tags.get(key) == challenger.tags[key] for key in ("metric", "measured_on")):
        return float(champion.tags["score"])
    with tempfile.TemporaryDirectory() as folder:
        generator = download_generator(f"models:/{champion.name}/{champion.version}", Path(folder))
        expected = champion.tags.get(GENERATOR_SHA256)
        if expected is not None and generator_sha256(generator) != expected:
            raise UserError("its stored generator is not the one that was registered")
        return rescore(generator)


def download_generator(model_uri: str, folder: Path) -> Path:
    """Fetch the generator of a registered model, such as `models:/digits@champion`, below `folder`; its folder.

    Raises:
        UserError: the store does not answer or has no such model.
    """
    with reachable():
        connect()
        import mlflow
        from mlflow.models import Model

        mlflow.set_tracking_uri(store_uri())
        local = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=str(folder)))
        artifacts = Model.load(str(local)).flavors["python_function"].get("artifacts", {})
        if "generator" not in artifacts:
            raise UserError(f"{model_uri}: holds no generator; expected a model made by the register stage")
        return local / str(artifacts["generator"]["path"])
