"""What people do with the champion: promote, roll back, and look at what has happened."""

import getpass
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from rich.table import Column, Table

from ganlib.errors import UserError
from pipelines import paths
from pipelines.console import plain_console
from pipelines.registry.champion import CHALLENGER, REGISTRY_LOCK, Say, Wish, move, pairs, read, read_at_one_moment
from pipelines.registry.history import MAX_REASON_CHARACTERS, Transition, one_line, shortened
from pipelines.tracking.store import LOCAL_DATABASE, URI_VARIABLE, configured, connect, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The gate writes whole paragraphs, which `--json` has.
MOST_CHARACTERS_OF_WHY = 200
# MLflow keeps it in 32 bits.
_VERSION = r"\d{1,9}"
_UNEFFECTIVE = {"begun": "not finished", "abandoned": "did not take effect"}


def promote(name: str, version: str, reason: str, *, say: Say) -> str:
    """Make a version of the model the champion, whatever the gate says of it; nothing changes if it is already.

    Args:
        name: of the registered model.
        version: its number, or `challenger`.
        reason: kept in the history.
        say: hears what is waited for.

    Returns:
        What has happened, for people.

    Raises:
        UserError: no reason, no such model or version, or the store does not answer.
    """
    if version != CHALLENGER and not re.fullmatch(_VERSION, version, re.ASCII):
        raise UserError(f"VERSION={shortened(version)}: expected the number of a version, or {CHALLENGER}")
    why = _checked(reason)
    with _registry(say) as client:
        target = str(int(version)) if version != CHALLENGER else read(client, name).challenger
        if target is None:
            raise UserError(f"model {name}: no version has the alias {CHALLENGER}; give the number of a version")
        moved = move(client, name, Wish("promote", target, operator(), why), say=say)
    if moved is None:
        return f"model {name}: version {target} is the champion already; nothing changed"
    return f"model {name}: version {target} is the champion now; before: {moved.origin or 'none'}"


def roll_back(name: str, reason: str, *, say: Say) -> str:
    """Give the alias back to the version that held it before the champion; arguments and result as for `promote`.

    Raises:
        UserError: no reason, no such model, no champion, none before it, it is deleted, or the store does not answer.
    """
    why = _checked(reason)
    with _registry(say) as client:
        moved = move(client, name, Wish("rollback", None, operator(), why), say=say)
    assert moved is not None  # the version before is another one
    return f"model {name}: version {moved.target} is the champion again; rolled back: {moved.origin}"


def history(name: str) -> tuple[Transition, ...]:
    """The model's transitions, newest first; nothing is written.

    Raises:
        UserError: no such model, or the store does not answer.
    """
    with reachable():
        ledger = read_at_one_moment(_connected(), name)
    # One that is begun may still be under way: only that it has arrived is certain.
    shown = [after if after.state == "done" else each for each, after in pairs(ledger)]
    outside = ledger.settled().moved_outside()
    return tuple(reversed([*shown, outside] if outside is not None else shown))


def as_json(transitions: Sequence[Transition]) -> str:
    """The transitions for programs: a list of objects with when, who, action, from, to, why and took_effect."""
    return json.dumps([each.to_json() for each in transitions], indent=2, ensure_ascii=False)


def show(name: str, transitions: Sequence[Transition]) -> None:
    """Print the transitions as a table."""
    if not transitions:
        sys.stdout.write(f"model {name}: no version has been champion yet\n")
        return
    table = Table(
        Column("when (UTC)", no_wrap=True), "action", Column("from → to", no_wrap=True), "who", Column("why", ratio=1)
    )
    for each in transitions:
        action = each.action if each.state == "done" else f"{each.action}: {_UNEFFECTIVE[each.state]}"
        versions = f"{each.origin or 'none'} → {each.target or 'none'}"
        when, who = each.when.replace("T", " ").removesuffix("Z"), each.who.partition(" <")[0]
        cells = (when, action, versions, who, textwrap.shorten(each.why, MOST_CHARACTERS_OF_WHY, placeholder=" …"))
        table.add_row(*map(one_line, cells), style="" if each.state == "done" else "dim")
    plain_console().print(table)


def operator() -> str:
    """Who is at the keyboard: git's user name and address, else the user of the operating system."""
    name, address = _git("user.name"), _git("user.email")
    if name:
        return one_line(f"{name} <{address}>" if address else name)[:200]
    try:
        return one_line(getpass.getuser())
    except KeyError:  # a number without a name, as in containers
        return f"user {os.getuid()}"


def _git(key: str) -> str:
    try:
        ran = subprocess.run(["git", "config", "--get", key], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return ran.stdout.strip()


def _checked(reason: str) -> str:
    why = one_line(reason)
    if not why:
        raise UserError("--reason: empty; say why, for those who read the history")
    if len(why) > MAX_REASON_CHARACTERS:
        raise UserError(f"--reason: {len(why)} characters, expected at most {MAX_REASON_CHARACTERS}; shorten it")
    return why


@contextmanager
def _registry(say: Say) -> Iterator["MlflowClient"]:
    """A client, with the lock that the register stage holds too."""
    with reachable():
        client = _connected()
        paths.SCRATCH.mkdir(exist_ok=True)
        lock = FileLock(REGISTRY_LOCK)
        try:
            lock.acquire(timeout=0.1)
        except Timeout:
            say(f"waiting for another gan command or the register stage to finish ({REGISTRY_LOCK})")
            lock.acquire()
        try:
            yield client
        finally:
            lock.release()


def _connected() -> "MlflowClient":
    if not configured() and not LOCAL_DATABASE.exists():
        raise UserError(
            f"{LOCAL_DATABASE}: no registry in this folder; go to the project's, or name a server in {URI_VARIABLE}"
        )
    return connect()
