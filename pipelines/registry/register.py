"""The model registry: one version per generator, the gate, and the aliases `challenger` and `champion`.

The writes are ordered so that being stopped between any two of them and run again ends in the same state:
a version is created together with its tags; the verdict is written before `champion` moves, and
`pipelines.registry.champion` moves it.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ganlib.config import RegisterOptions
from ganlib.errors import UserError
from ganlib.evaluation.comparison import Comparison
from ganlib.evaluation.record import Evaluation
from ganlib.packaging import generator_sha256, read_description
from pipelines import environment, paths
from pipelines.registry.champion import CHALLENGER, CHAMPION, Say, hold_registry, move, settle
from pipelines.registry.gate import NotComparable, Opponent, decide, metric_of
from pipelines.registry.history import GATE, UNKNOWN, Ledger, shortened
from pipelines.registry.verdict import Registration, Verdict, table_from_tag
from pipelines.registry.versions import (
    NotAsRegistered,
    WriteCard,
    describe_version,
    ensure_loadable,
    fetch_version,
    find_or_create_version,
    keep_card,
)
from pipelines.tracking.delivery import GENERATOR_SHA256
from pipelines.tracking.headline import evaluated
from pipelines.tracking.store import connect, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


# Measures a saved generator and compares the challenger with it. Raises `NotComparable` where that is the saved one's
# fault, another `UserError` where it cannot be done now.
Contest = Callable[[Path], Comparison]
# Describes a registered version in Markdown; takes the id of its run, whose artifacts it may point at.
Describe = Callable[[Registration, str], str]


def register(
    *,
    options: RegisterOptions,
    experiment: str,
    generator_folder: Path,
    write_card: WriteCard,
    evaluation: Evaluation,
    background: tuple[int, int, int],
    tags: Mapping[str, str],
    contest: Contest,
    describe: Describe,
    say: Say = lambda _: None,
) -> Registration:
    """Make the generator a version of the model, and the champion if it passes the gate.

    What a training has left in the spool must have been delivered, as `origin` does: the version points at the run.

    Args:
        options: model name and gate.
        experiment: where the run that made the generator is.
        generator_folder: what `ImageGenerator.save` wrote.
        write_card: makes the card that is kept with the model.
        evaluation: of the generator.
        background: what transparent images were laid on, 0 to 255.
        tags: set on the version: git commit, data hash, parameters hash.
        contest: called with the champion's folder.
        describe: what MLflow says of the version and its run.
        say: hears whom the gate waits for, and of descriptions that stay a person's.

    Raises:
        UserError: the store does not answer, the generator is missing, or it was not this one or not by the gate's
            metric that was evaluated.
    """
    digest, made = generator_sha256(generator_folder), read_description(generator_folder)
    if evaluation.generator_sha256 != digest:
        raise UserError(f"{paths.EVALUATION}: describes another generator than {generator_folder}; evaluate again")
    identity = {
        **tags,
        GENERATOR_SHA256: digest,
        "metric": options.metric,
        "score": repr(metric_of(evaluation, options.metric).value),
        "measured_on": evaluation.measured_on,
    }
    with environment.patient(), hold_registry(say), reachable():
        client = connect()
        version = find_or_create_version(
            client,
            options.model_name,
            experiment,
            generator_folder,
            identity,
            figures=evaluated(evaluation, options.metric),
            seen_images=int(made.provenance["seen_images"]),
            background=background,
            say=say,
        )
        keep_card(client, version, write_card)
        client.set_registered_model_alias(options.model_name, CHALLENGER, version.version)
        registration = _judge(client, options, version, evaluation, contest)
        describe_version(client, version, describe(registration, version.run_id or ""), say)
        return registration


def _judge(
    client: "MlflowClient",
    options: RegisterOptions,
    version: "ModelVersion",
    evaluation: Evaluation,
    contest: Contest,
) -> Registration:
    """Decide, write the decision down, and only then move the alias; anew if somebody moves it in the meantime."""
    name, number = options.model_name, str(version.version)
    ledger, _ = settle(client, name)
    champion_number = ledger.champion
    if champion_number == number:
        return _already_champion(options, version, evaluation, ledger)
    opponent = None
    try:
        if champion_number is not None:
            opponent = _meet(client, client.get_model_version(name, champion_number), evaluation, contest)
        verdict = _heed_people(decide(options, evaluation, opponent), ledger, version)
    except NotComparable as error:
        told = f"Not comparable with version {champion_number}: {error}; {_by_hand(number)}."
        verdict = Verdict(promoted=False, reason=told, table=())
    if verdict.promoted:
        ensure_loadable(
            client, version, mend="delete the version and its logged model on MLflow's pages, and run again"
        )
    remeasured = opponent is not None and opponent.remeasured
    gate = {
        "gate.metric": options.metric,
        "gate.margin": repr(options.margin),
        "gate.confidence": repr(options.confidence),
        "gate.measured_on": evaluation.measured_on,
        "gate.champion_version": champion_number or "",
        "gate.remeasured": json.dumps(remeasured),
        "gate.promoted": json.dumps(verdict.promoted),
        "gate.reason": verdict.reason,
        "gate.table": verdict.table_to_tag(),
    }
    for key, value in gate.items():
        client.set_model_version_tag(name, number, key, value)
    if verdict.promoted:
        ledger, _ = settle(client, name)
        if ledger.champion != champion_number:
            return _judge(client, options, version, evaluation, contest)
        move(client, ledger, "promote", version, who=GATE, why=shortened(verdict.reason))
    aliases = (CHALLENGER, CHAMPION) if verdict.promoted else (CHALLENGER,)
    return _registration(options, version, aliases, champion_number, remeasured, verdict)


def _registration(
    options: RegisterOptions,
    version: "ModelVersion",
    aliases: tuple[str, ...],
    champion_version: str | None,
    remeasured: bool,
    verdict: Verdict,
) -> Registration:
    return Registration(
        model_name=options.model_name,
        version=str(version.version),
        aliases=aliases,
        metric=options.metric,
        margin=options.margin,
        confidence=options.confidence,
        champion_version=champion_version,
        remeasured=remeasured,
        verdict=verdict,
        generator_sha256=version.tags[GENERATOR_SHA256],
    )


def _heed_people(verdict: Verdict, ledger: Ledger, version: "ModelVersion") -> Verdict:
    """The gate does not give the alias back to a generator that a person has taken it from: people know more."""
    number = str(version.version)
    taken = ledger.taken_by_person(number, version.tags[GENERATOR_SHA256])
    if taken is None or not verdict.promoted:
        return verdict
    how = "rolled back" if taken.action == "rollback" else "replaced as champion"
    figures = verdict.reason.removeprefix("Promoted: ")
    taken_by = f"{how} by {taken.who} at {taken.when} ({taken.why})"
    told = f"Not promoted: {taken_by}; {_by_hand(number)}. By its figures: {figures}"
    return verdict.model_copy(update={"promoted": False, "reason": told})


def _by_hand(number: str) -> str:
    return f"to promote it anyway: `gan promote {number} --reason …`"


def _already_champion(
    options: RegisterOptions, version: "ModelVersion", evaluation: Evaluation, ledger: Ledger
) -> Registration:
    """Nothing moves; the decision that made it champion is told again, in the terms of its time.

    The gate's own is told in the same words as long as nothing has changed: a stage that was killed after it had moved
    the alias, and is run again, writes what it would have written.
    """
    recorded = version.tags
    last = ledger.transitions[-1]
    then = _terms(options, version)
    changed = then != options or recorded.get("gate.measured_on") != evaluation.measured_on
    since = "Settings, data or code have changed since the decision. " if changed else ""
    promoted = recorded.get("gate.promoted") == "true"
    by_the_gate = promoted and last.who in {GATE, UNKNOWN}
    told = recorded.get("gate.reason", last.why) if by_the_gate else f"By {last.who}: {last.why}"
    reason = told if by_the_gate and not changed else f"Already the champion. {since}{told}"
    table = table_from_tag(recorded.get("gate.table", "[]"), f"model {version.name}, version {version.version}")
    verdict = Verdict(promoted=promoted, reason=reason, table=table)
    remeasured = recorded.get("gate.remeasured") == "true"
    opponent = recorded.get("gate.champion_version") or None
    return _registration(then, version, (CHALLENGER, CHAMPION), opponent, remeasured, verdict)


def _terms(options: RegisterOptions, version: "ModelVersion") -> RegisterOptions:
    """What the decision about a version was made by; as now where nothing is recorded.

    Raises:
        UserError: the tags are damaged.
    """
    terms = {
        name: version.tags.get(f"gate.{name}", getattr(options, name)) for name in ("metric", "margin", "confidence")
    }
    try:
        return RegisterOptions.model_validate(options.model_dump() | terms)
    except ValidationError as error:
        names = ", ".join(f"gate.{name}" for name in terms)
        found = error.errors()[0]["msg"]
        whose = f"model {version.name}, version {version.version}"
        raise UserError(f"{whose}: one of the tags {names} is damaged ({found}); delete it") from None


def _meet(client: "MlflowClient", champion: "ModelVersion", evaluation: Evaluation, contest: Contest) -> Opponent:
    """The champion beside the challenger, on today's data.

    Raises:
        NotComparable: surely the champion's own fault, or the contest finds it so.
        mlflow.exceptions.MlflowException, OSError: the store, the network or this machine fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            _, generator = fetch_version(client, champion, Path(folder))
        except NotAsRegistered as error:
            raise NotComparable(str(error)) from None
        comparison = contest(generator)
    remeasured = champion.tags.get("measured_on") != evaluation.measured_on
    return Opponent(str(champion.version), comparison, remeasured)


def logged_evaluation(name: str, version: str | None) -> Evaluation | None:
    """The figures in the run of a version; None where version or run are gone, or there is no record of today's format.

    Raises:
        UserError: the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    if version is None:
        return None
    record = f"{paths.EVALUATION_ARTIFACTS}/{paths.EVALUATION.name}"
    with reachable(), tempfile.TemporaryDirectory() as folder:
        client = connect()
        try:
            run_id = client.get_model_version(name, version).run_id
            if not run_id or record not in {
                each.path for each in client.list_artifacts(run_id, paths.EVALUATION_ARTIFACTS)
            }:
                return None
            return Evaluation.read(Path(client.download_artifacts(run_id, record, folder)))
        except UserError:
            return None
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
