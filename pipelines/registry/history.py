"""Who held the alias `champion`, when, and why: the transitions, as data.

Each transition is one tag of the registered model, written once, after the alias has moved. (Tags of a version would
go with the version.) Before that it is written as the intent: one tag, which every move overwrites. The alias is the
truth. Where it is not where the last transition left it, either the intent has arrived and its writer died before it
could say so, or somebody has moved the alias by other means, which becomes a transition too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from ganlib.errors import UserError

Action = Literal["promote", "rollback", "outside"]
GATE = "gate"
UNKNOWN = "unknown"
MAX_REASON_CHARACTERS = 1000  # a database keeps 5000 of a tag, which holds the rest of the transition as well

_PREFIX = "history."
_KEY = re.compile(r"history\.[0-9]{6,}\.[a-z0-9]+")
INTENT = "history_intent"


@dataclass(frozen=True)
class Transition:
    """One move of the alias.

    `key` is its tag: a number that orders them, and a token that tells those of two machines at one moment apart.
    `origin` and `target` are versions, None where the alias was or is given to none; `generator` is the digest of the
    target's generator, empty if unknown; `when` is in UTC.
    """

    key: str
    action: Action
    origin: str | None
    target: str | None
    generator: str
    who: str
    why: str
    when: str

    def to_tag(self) -> str:
        """The tag's value."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "key"}, ensure_ascii=False)

    def to_intent(self) -> str:
        """The value of the tag of the intent."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def to_json(self) -> dict[str, Any]:
        """What `gan history --json` tells."""
        told = {"when": self.when, "who": self.who, "action": self.action}
        return told | {"from": self.origin, "to": self.target, "why": self.why}


@dataclass(frozen=True)
class Ledger:
    """The aliases of a registered model at one moment, its transitions, oldest first, and what was last intended."""

    model_name: str
    champion: str | None
    challenger: str | None
    transitions: tuple[Transition, ...]
    intent: Transition | None

    def next_key(self, token: str) -> str:
        """Of a transition after all others."""
        last = int(self.transitions[-1].key.split(".")[1]) if self.transitions else 0
        return f"{_PREFIX}{last + 1:06d}.{token}"

    def unwritten(self) -> Transition | None:
        """The move that the alias has made and the transitions do not tell."""
        expected = self.transitions[-1].target if self.transitions else None
        if self.champion == expected:
            return None
        if self.intent is not None and (self.intent.origin, self.intent.target) == (expected, self.champion):
            return self.intent
        if not self.transitions:
            why = "Was already champion when this history began."
        elif self.champion is None:
            why = "The alias was removed, or its version deleted, outside gan; detected at this time."
        else:
            why = "The alias was moved outside gan; detected at this time."
        # The token is none, so that two who notice it at once write it once.
        return Transition(self.next_key("outside"), "outside", expected, self.champion, "", UNKNOWN, why, now())

    def previous(self) -> str | None:
        """The version that a rollback restores: the one that held the alias before the champion got it."""
        holders: list[str] = []
        for each in self.transitions:
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
        for each in self.transitions:
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


def parse(tags: Mapping[str, str], model_name: str) -> tuple[tuple[Transition, ...], Transition | None]:
    """The transitions among a registered model's tags, oldest first, and the intent.

    Raises:
        UserError: one of them is damaged.
    """
    found = [_parse_one(key, value, model_name) for key, value in tags.items() if key.startswith(_PREFIX)]
    intent = _parse_one(INTENT, tags[INTENT], model_name) if INTENT in tags else None
    return tuple(sorted(found, key=lambda each: each.key)), intent


def _parse_one(tag: str, value: str, model_name: str) -> Transition:
    try:
        fields = {"key": tag} | json.loads(value)
    except (ValueError, TypeError):
        fields = None
    match fields:
        case {
            "key": str(key),
            "action": action,
            "origin": (str() | None) as origin,
            "target": (str() | None) as target,
            "generator": str(generator),
            "who": str(who),
            "why": str(why),
            "when": str(when),
        } if _KEY.fullmatch(key) and action in get_args(Action):
            return Transition(key, action, origin, target, generator, who, why, when)
    raise UserError(
        f"model {model_name}: the tag {one_line(tag)} is not a valid history entry (found {one_line(value)[:80]!r}); "
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
