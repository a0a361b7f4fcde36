"""Moving the alias `champion` of a registered model, one at a time, on a store that knows no locks.

MLflow has no conditional write, so that a move is announced before it is made: a transition (see
`pipelines.registry.history`) is written as begun, and whoever then finds another's withdraws their own and tries again
later. Of two who announce at once at least one sees the other, so no two move the alias together. A transition whose
writer has died is settled by whoever comes next: at once if it ran in this folder, whose lock is held here, else
when it has stood still for longer than any live writer takes. A writer that was suspended for longer than that finds
its transition abandoned, and undoes its move.
"""

import hashlib
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ganlib.errors import UserError
from pipelines import paths
from pipelines.registry.history import Action, Ledger, Transition, now, one_line, parse
from pipelines.tracking.delivery import GENERATOR_SHA256

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
REGISTRY_LOCK = paths.SCRATCH / "registry.lock"
ANY = "any"

LEASE_S = 15.0  # three times the limit of one request; a writer makes two before the alias has moved
_POLL_S = 0.1
_LONGEST_BACKOFF_S = 1.0

Say = Callable[[str], object]


class Overtaken(UserError):
    """The champion is not the one that the decision was about."""


@dataclass(frozen=True)
class Wish:
    """What shall happen; without a target, the version is restored that held the alias before."""

    action: Action
    target: str | None
    who: str
    why: str

    def is_for(self, transition: Transition) -> bool:
        """Whether the transition was begun for the same wish."""
        told = (transition.action, transition.who, transition.why)
        return told == (self.action, self.who, self.why) and self.target in {None, transition.target}


def move(client: "MlflowClient", name: str, wish: Wish, *, say: Say, seen: str | None = ANY) -> Transition | None:
    """Move the alias; the registry's lock must be held. None if nothing has to move.

    Raises:
        Overtaken: the champion is another by now than the one that was `seen`.
        UserError: as `promote` and `roll_back`.
    """
    backoff_s = _POLL_S
    while True:
        ledger, mine = settle(client, name, wish, say=say)
        if mine is not None and ledger.champion == mine.target:
            break
        if mine is None:
            if seen not in {ANY, ledger.champion}:
                raise Overtaken(
                    f"model {name}: the champion was {seen or 'none'}, now it is {ledger.champion or 'none'}"
                )
            target = wish.target or _restored(ledger)
            if target == ledger.champion:
                return None
            mine = _begin(client, ledger, wish, target)
        if _alone(read(client, name), mine):
            break
        client.delete_registered_model_tag(name, mine.key)
        time.sleep(random.uniform(0, backoff_s))
        backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)
    assert mine.target is not None
    client.set_registered_model_alias(name, CHAMPION, mine.target)
    return _finish(client, name, mine)


def settle(
    client: "MlflowClient", name: str, wish: Wish | None = None, *, say: Say
) -> tuple[Ledger, Transition | None]:
    """Wait for transitions under way, and clear up after those broken off; the registry's lock must be held.

    Returns:
        The ledger, and a transition that was broken off and is to be carried on because the wish is for the same.
    """
    ledger = _wait(client, name, say)
    for each in ledger.unfinished:
        if wish is not None and wish.is_for(each) and ledger.champion in {each.origin, each.target}:
            return ledger, each
    for each, after in pairs(ledger):
        if after != each:
            _write(client, name, after)
    ledger = ledger.settled()
    outside = ledger.moved_outside()
    if outside is not None:
        if outside.target is not None:
            tags = client.get_model_version(name, outside.target).tags
            outside = replace(outside, generator=tags.get(GENERATOR_SHA256, ""))
        _write(client, name, outside)
        ledger = replace(ledger, transitions=(*ledger.transitions, outside))
    return ledger, None


def read(client: "MlflowClient", name: str) -> Ledger:
    """The aliases and transitions as they are.

    Raises:
        UserError: no such model, or a damaged transition.
    """
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
    return Ledger(name, aliases.get(CHAMPION), aliases.get(CHALLENGER), parse(model.tags, name))


def pairs(ledger: Ledger) -> Iterator[tuple[Transition, Transition]]:
    """Each transition, and what it is once settled."""
    return zip(ledger.transitions, ledger.settled().transitions, strict=True)


def _wait(client: "MlflowClient", name: str, say: Say) -> Ledger:
    """The ledger once nobody else is at it, or has stood still for the lease."""
    place, since_s, told = _place(), time.monotonic(), False
    watched: tuple[Transition, ...] = ()
    while True:
        ledger = read_at_one_moment(client, name)
        others = tuple(each for each in ledger.unfinished if each.place != place)
        if others != watched:
            watched, since_s = others, time.monotonic()
        waited_s = time.monotonic() - since_s
        if not others or waited_s > LEASE_S:
            return ledger
        if waited_s > 1 and not told:
            say(f"waiting at most {LEASE_S:g} s for {others[0].who} to {others[0].action} version {others[0].target}")
            told = True
        time.sleep(_POLL_S)


def read_at_one_moment(client: "MlflowClient", name: str) -> Ledger:
    """A ledger whose aliases and transitions are of one moment: some databases answer a read in several."""
    ledger = read(client, name)
    while ledger.settled().moved_outside() is not None:
        again = read(client, name)
        if again == ledger:
            break
        ledger = again
    return ledger


def _restored(ledger: Ledger) -> str:
    """The version that a rollback gives the alias to."""
    name = ledger.model_name
    if ledger.champion is None:
        last = next((each.origin for each in reversed(ledger.done) if each.origin is not None), None)
        advice = "promote one" if last is None else f"the last was {last}: `gan promote {last} --reason …`"
        raise UserError(
            f"model {name}: no version has the alias {CHAMPION}, so there is nothing to roll back; {advice}"
        )
    previous = ledger.previous()
    if previous is None:
        raise UserError(
            f"model {name}: version {ledger.champion} is the first champion known, so there is none to go back to; "
            "choose another with `gan promote VERSION --reason …`"
        )
    return previous


def _begin(client: "MlflowClient", ledger: Ledger, wish: Wish, target: str) -> Transition:
    """Announce the move."""
    generator = _generator(client, ledger.model_name, target)
    token = f"{random.SystemRandom().getrandbits(32):08x}"
    mine = Transition(
        number=ledger.next_number, token=token, action=wish.action, origin=ledger.champion, target=target,
        generator=generator, who=wish.who, why=wish.why, when=now(), place=_place(), state="begun",
    )  # fmt: skip
    _write(client, ledger.model_name, mine)
    return mine


def _generator(client: "MlflowClient", name: str, target: str) -> str:
    """The digest of the version's generator."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version(name, target).tags.get(GENERATOR_SHA256, ""))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        versions = sorted(int(each.version) for each in client.search_model_versions(f"name = '{name}'"))
        shown = ", ".join(map(str, versions[-10:])) or "none"
        raise UserError(
            f"model {name}: version {target} is not in the registry, or deleted (the latest there: {shown}); "
            "choose one with `gan promote VERSION --reason …`"
        ) from None


def _alone(ledger: Ledger, mine: Transition) -> bool:
    """Whether the alias may be moved: nobody else has announced or made a move since."""
    others = [each for each in ledger.transitions if each.key != mine.key]
    return (
        ledger.champion == mine.origin
        and mine in ledger.transitions
        and all(each.number < mine.number and each.state != "begun" for each in others)
    )


def _finish(client: "MlflowClient", name: str, mine: Transition) -> Transition:
    """Mark the transition as done, or undo it if it took so long that others have given it up."""
    ledger = read(client, name)
    found = next((each for each in ledger.transitions if each.key == mine.key), None)
    if found is None or found.state == "abandoned":
        rightful = ledger.done[-1].target if ledger.done else None
        if rightful is not None and ledger.champion == mine.target:
            client.set_registered_model_alias(name, CHAMPION, rightful)
        raise UserError(
            f"model {name}: others have moved the alias meanwhile; look at `gan history` and run this again"
        )
    done = replace(found, state="done", when=now())
    _write(client, name, done)
    return done


def _write(client: "MlflowClient", name: str, transition: Transition) -> None:
    client.set_registered_model_tag(name, transition.key, transition.to_tag())


def _place() -> str:
    """This folder of this machine, without its name: one that holds its lock knows that no other writer lives here."""
    folder = paths.SCRATCH.stat()
    return hashlib.sha256(f"{platform.node()} {folder.st_dev} {folder.st_ino}".encode()).hexdigest()[:8]
