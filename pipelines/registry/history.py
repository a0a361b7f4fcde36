"""Who held the alias `champion`, when, and why: the transitions, as data.

Each transition is one tag of the registered model, under a key of its own that only its writer and whoever clears
up after it ever write again. (Tags of a version would go with the version.) It is written as begun before the alias
moves and as done afterwards. The alias is the truth: a transition that was broken off counts as done if the alias is
where it should have gone, and as abandoned otherwise; and where the alias is not where the transitions say,
somebody has moved it by other means, which becomes a transition too.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from ganlib.errors import UserError

Action = Literal["promote", "rollback", "outside"]
State = Literal["begun", "done", "abandoned"]
GATE = "gate"
UNKNOWN = "unknown"
MAX_REASON_CHARACTERS = 1000  # a database keeps 5000 of a tag, which holds the rest of the transition as well

_PREFIX = "history."


@dataclass(frozen=True)
class Transition:
    """One move of the alias.

    `number` orders them and `token` tells those of two writers at the same moment apart. `origin` and `target` are
    versions, None where the alias was or is given to none; `generator` is the digest of the target's generator,
    empty if unknown; `place` says in which project folder of which machine the writer ran; `when` is in UTC.
    """

    number: int
    token: str
    action: Action
    origin: str | None
    target: str | None
    generator: str
    who: str
    why: str
    when: str
    place: str
    state: State

    @property
    def key(self) -> str:
        """Of the tag."""
        return f"{_PREFIX}{self.number:06d}.{self.token}"

    def to_tag(self) -> str:
        """The tag's value."""
        value = asdict(self)
        del value["number"], value["token"]
        return json.dumps(value, ensure_ascii=False)

    def to_json(self) -> dict[str, Any]:
        """What `gan history --json` tells."""
        return {
            "when": self.when,
            "who": self.who,
            "action": self.action,
            "from": self.origin,
            "to": self.target,
            "why": self.why,
            "took_effect": self.state == "done",
        }


@dataclass(frozen=True)
class Ledger:
    """The aliases of a registered model at one moment, and its transitions, oldest first."""

    model_name: str
    champion: str | None
    challenger: str | None
    transitions: tuple[Transition, ...]

    @property
    def unfinished(self) -> tuple[Transition, ...]:
        """Those begun and neither done nor abandoned: their writers are at it, or dead."""
        return tuple(each for each in self.transitions if each.state == "begun")

    @property
    def done(self) -> tuple[Transition, ...]:
        """Those that took effect."""
        return tuple(each for each in self.transitions if each.state == "done")

    @property
    def next_number(self) -> int:
        """For a transition after all others."""
        return max((each.number for each in self.transitions), default=0) + 1

    def settled(self) -> "Ledger":
        """The same with nothing left begun; of several that aim at the champion the first is taken for the mover."""
        transitions: list[Transition] = []
        credited = False
        for each in self.transitions:
            if each.state == "begun":
                arrived = not credited and each.target == self.champion and each.origin != each.target
                credited = credited or arrived
                each = replace(each, state="done" if arrived else "abandoned")
            transitions.append(each)
        return replace(self, transitions=tuple(transitions))

    def moved_outside(self) -> Transition | None:
        """The move that was not made here, if the alias is not where the transitions left it.

        Its key follows from its number, so that two who notice it at once write it once.
        """
        expected = self.done[-1].target if self.done else None
        if self.champion == expected:
            return None
        if not self.done:
            why = "Was champion already when this history began."
        elif self.champion is None:
            why = "The alias was removed, or its version deleted, outside gan; noticed at this time."
        else:
            why = "The alias was moved outside gan; noticed at this time."
        return Transition(
            self.next_number, "outside", "outside", expected, self.champion, "", UNKNOWN, why, now(), "", "done"
        )

    def previous(self) -> str | None:
        """The version that a rollback restores: the one that held the alias before the champion got it."""
        holders: list[str] = []
        for each in self.done:
            if each.action == "rollback":
                del holders[-1:]
            if each.target is not None and holders[-1:] != [each.target]:
                holders.append(each.target)
        return holders[-2] if len(holders) > 1 else None

    def taken_by_person(self, version: str, generator: str) -> Transition | None:
        """The transition in which somebody other than the gate took the alias from this generator, if it still holds.

        Later transitions that give it back annul it. A generator is known by its digest, so that deleting its version
        and registering it again changes nothing.
        """
        names: dict[str, str] = {}
        taken: dict[str, Transition] = {}
        for each in self.done:
            if each.origin is not None:
                loser = names.get(each.origin, each.origin)
                if each.who == GATE:
                    taken.pop(loser, None)
                else:
                    taken[loser] = each
            if each.target is not None:
                names[each.target] = each.generator or each.target
                taken.pop(names[each.target], None)
        return taken.get(generator) or taken.get(version)


def parse(tags: Mapping[str, str], model_name: str) -> tuple[Transition, ...]:
    """The transitions among a registered model's tags, oldest first.

    Raises:
        UserError: one of them is damaged.
    """
    found = [_parse_one(key, value, model_name) for key, value in tags.items() if key.startswith(_PREFIX)]
    return tuple(sorted(found, key=lambda each: (each.number, each.token)))


def _parse_one(key: str, value: str, model_name: str) -> Transition:
    number, _, token = key.removeprefix(_PREFIX).partition(".")
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    match fields:
        case {
            "action": action,
            "origin": (str() | None) as origin,
            "target": (str() | None) as target,
            "generator": str(generator),
            "who": str(who),
            "why": str(why),
            "when": str(when),
            "place": str(place),
            "state": state,
        } if number.isdecimal() and action in get_args(Action) and state in get_args(State):
            return Transition(int(number), token, action, origin, target, generator, who, why, when, place, state)
    raise UserError(
        f"model {model_name}: the tag {one_line(key)} is no entry of its history (found {one_line(value)[:80]!r}); "
        "delete the tag on MLflow's page of the model"
    )


def one_line(text: str) -> str:
    """The text as a terminal can show it: blanks are single, and what cannot be printed is a question mark."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def shortened(reason: str) -> str:
    """One line of bounded length."""
    line = one_line(reason)
    return line if len(line) <= MAX_REASON_CHARACTERS else f"{line[: MAX_REASON_CHARACTERS - 1]}…"


def now() -> str:
    """This second in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
