"""Moving the alias `champion` of a registered model.

Whoever moves it from this machine holds the registry's lock, so that moves take turns. MLflow itself knows neither
locks nor conditional writes: two machines (or two users of one) that move the alias of one model within the same
second may both succeed. The later move then holds, both stand in the history, and where these disagree the next
command tells of a move from outside.
"""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ganlib.errors import UserError
from pipelines import paths
from pipelines.graph import locking
from pipelines.registry.history import INTENT, Action, Ledger, Transition, now, one_line, parse
from pipelines.tracking.delivery import GENERATOR_SHA256
from pipelines.tracking.store import database_file, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"

Say = Callable[[str], None]


def hold_registry(say: Say) -> AbstractContextManager[locking.Lock]:
    """The lock of whoever writes to the registry."""
    return locking.hold(registry_lock(), on_wait=say)


def registry_lock() -> Path:
    """Its file: beside a SQLite store, else among this user's temporary files."""
    uri = store_uri()
    file = database_file(uri)
    if file is not None:
        return file.with_name(paths.SCRATCH.name) / "registry.lock"
    digest = hashlib.sha256(uri.encode()).hexdigest()
    return Path(tempfile.gettempdir(), f"ganlib-registry-{os.getuid()}-{digest[:16]}.lock")


def settle(client: "MlflowClient", name: str) -> tuple[Ledger, Transition | None]:
    """Write down what the transitions do not tell; the registry's lock must be held.

    Returns:
        The ledger, complete, and the transition of a command that was killed before it had written it.
    """
    ledger = read(client, name)
    late = ledger.unwritten()
    if late is None:
        return ledger, None
    if late.target is not None and not late.generator:
        tags = client.get_model_version(name, late.target).tags
        late = replace(late, generator=tags.get(GENERATOR_SHA256, ""))
    client.set_registered_model_tag(name, late.key, late.to_tag())
    return replace(ledger, transitions=(*ledger.transitions, late)), late


def move(
    client: "MlflowClient", ledger: Ledger, action: Action, target: "ModelVersion", *, who: str, why: str
) -> Transition:
    """Move the alias, between writing down that it shall be moved and that it was; a ledger is good for one move."""
    name, number = ledger.model_name, str(target.version)
    mine = Transition(
        key=ledger.next_key(secrets.token_hex(4)), action=action, origin=ledger.champion, target=number,
        generator=target.tags.get(GENERATOR_SHA256, ""), who=who, why=why, when=now(),
    )  # fmt: skip
    client.set_registered_model_tag(name, INTENT, mine.to_intent())
    client.set_registered_model_alias(name, CHAMPION, number)
    client.set_registered_model_tag(name, mine.key, mine.to_tag())
    return mine


def read(client: "MlflowClient", name: str) -> Ledger:
    """The aliases and transitions at one moment, which some databases answer from several.

    Raises:
        UserError: no such model, or a damaged transition.
    """
    ledger = _read_once(client, name)
    while ledger.unwritten() is not None:
        again = _read_once(client, name)
        if again == ledger:
            break
        ledger = again
    return ledger


def _read_once(client: "MlflowClient", name: str) -> Ledger:
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(
            f"model {one_line(name)}: not in the registry; `gan repro` registers one, --model names another"
        ) from None
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    return Ledger(name, aliases.get(CHAMPION), aliases.get(CHALLENGER), *parse(model.tags, name))


def version_of(client: "MlflowClient", name: str, number: str) -> "ModelVersion":
    """A version of the model.

    Raises:
        UserError: there is none of this number.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        versions = sorted(int(each.version) for each in client.search_model_versions(f"name = '{name}'"))
        shown = ", ".join(map(str, versions[-10:])) or "none"
        raise UserError(
            f"model {name}: version {number} does not exist or is deleted (the latest: {shown}); "
            "choose one with `gan promote VERSION --reason …`"
        ) from None
