"""What people do with the champion: promote, roll back, and look at what has happened."""

import getpass
import json
import re
import sys
import textwrap
from collections.abc import Sequence

from rich.table import Column, Table

from ganlib.errors import UserError
from pipelines.console import plain_console
from pipelines.git import git
from pipelines.registry.champion import CHALLENGER, CHAMPION, Say, hold_registry, move, read, settle, version_of
from pipelines.registry.history import MAX_REASON_CHARACTERS, Ledger, Transition, one_line, shortened
from pipelines.tracking.store import connect_to_read, reachable

# The gate writes whole paragraphs, which `--json` has.
MOST_CHARACTERS_OF_WHY = 200
_ANOTHER = "choose another with `gan promote VERSION --reason …`"
# MLflow keeps it in 32 bits.
_VERSION = r"\d{1,9}"


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
        UserError: no reason, no such model or version, it cannot be loaded, or the store does not answer.
    """
    if version != CHALLENGER and not re.fullmatch(_VERSION, version, re.ASCII):
        raise UserError(f"VERSION={shortened(version)}: expected the number of a version, or {CHALLENGER}")
    from pipelines.registry.versions import ensure_loadable

    why, who = _checked(reason), operator()
    with reachable():
        client = connect_to_read()
        with hold_registry(say):
            ledger, _ = settle(client, name)
            target = str(int(version)) if version != CHALLENGER else ledger.challenger
            if target is None:
                raise UserError(f"model {name}: no version has the alias {CHALLENGER}; give the number of a version")
            if target == ledger.champion:
                return f"model {name}: version {target} is already the champion; nothing changed"
            found = version_of(client, name, target)
            ensure_loadable(client, found, mend=_ANOTHER)
            moved = move(client, ledger, "promote", found, who=who, why=why)
    return f"model {name}: version {target} is now the champion; before: {moved.origin or 'none'}"


def roll_back(name: str, reason: str, *, say: Say) -> str:
    """Give the alias back to the version that held it before the champion; arguments and result as for `promote`.

    Raises:
        UserError: no reason, no such model, no champion, none before it, it is deleted or cannot be loaded, or the
            store does not answer.
    """
    from pipelines.registry.versions import ensure_loadable

    why, who = _checked(reason), operator()
    with reachable():
        client = connect_to_read()
        with hold_registry(say):
            ledger, moved = settle(client, name)
            if moved is None or (moved.action, moved.who, moved.why) != ("rollback", who, why):
                target = version_of(client, name, _before(ledger))
                ensure_loadable(client, target, mend=_ANOTHER)
                moved = move(client, ledger, "rollback", target, who=who, why=why)
    return f"model {name}: version {moved.target} is the champion again; rolled back: {moved.origin}"


def _before(ledger: Ledger) -> str:
    """The version that a rollback gives the alias to."""
    name = ledger.model_name
    if ledger.champion is None:
        last = next((each.origin for each in reversed(ledger.transitions) if each.origin is not None), None)
        advice = "promote one" if last is None else f"the last was {last}: `gan promote {last} --reason …`"
        raise UserError(
            f"model {name}: no version has the alias {CHAMPION}, so there is nothing to roll back; {advice}"
        )
    previous = ledger.previous()
    if previous is None:
        raise UserError(
            f"model {name}: version {ledger.champion} is the first known champion, so there is none to roll back to; "
            f"{_ANOTHER}"
        )
    return previous


def history(name: str) -> tuple[Transition, ...]:
    """The model's transitions, newest first; nothing is written.

    Raises:
        UserError: no such model, or the store does not answer.
    """
    with reachable():
        ledger = read(connect_to_read(), name)
    late = ledger.unwritten()
    return tuple(reversed(ledger.transitions if late is None else (*ledger.transitions, late)))


def as_json(transitions: Sequence[Transition]) -> str:
    """The transitions for programs: a list of objects with when, who, action, from, to and why."""
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
        versions = f"{each.origin or 'none'} → {each.target or 'none'}"
        when, who = each.when.replace("T", " ").removesuffix("Z"), each.who.partition(" <")[0]
        cells = (when, each.action, versions, who, textwrap.shorten(each.why, MOST_CHARACTERS_OF_WHY, placeholder=" …"))
        table.add_row(*map(one_line, cells))
    plain_console().print(table)


def operator() -> str:
    """Who is at the keyboard: git's user name and address, else the user of the operating system."""
    name, address = git("config", "--get", "user.name"), git("config", "--get", "user.email")
    if name:
        return one_line(f"{name} <{address}>" if address else name)[:200]
    return one_line(getpass.getuser())


def _checked(reason: str) -> str:
    why = one_line(reason)
    if not why:
        raise UserError("--reason: empty; give a reason for the history")
    if len(why) > MAX_REASON_CHARACTERS:
        raise UserError(f"--reason: {len(why)} characters, expected at most {MAX_REASON_CHARACTERS}; shorten it")
    return why
