"""Who is asked about which image, while a quiz runs."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ganlib.people import ErrorRates, error_rates
from pipelines.quiz.answers import Answer, Joined, Journal, Opening, Person
from pipelines.quiz.deck import Card, Deck
from pipelines.registry.history import one_line

MOST_PEOPLE = 10_000
LONGEST_NAME = 60


class NoSuchThing(Exception):
    """A person or an image that this quiz does not know; the message is for people."""


@dataclass
class Player:
    """Somebody at the page, known by a secret; `cards` are all they are asked about."""

    number: int
    name: str | None
    cards: tuple[Card, ...]
    answers: list[Answer] = field(default_factory=list)

    @property
    def card(self) -> Card | None:
        """What they are asked about now; None at the end."""
        return self.cards[len(self.answers)] if len(self.answers) < len(self.cards) else None

    @property
    def person(self) -> Person:
        """As on disk."""
        return Person(person=self.number, name=self.name, complete=self.card is None, answers=tuple(self.answers))


class Game:
    """All players. Each answer is on disk before it counts; `on_finish` hears of everybody who has come to the end."""

    def __init__(
        self,
        deck: Deck,
        journal: Journal,
        opening: Opening,
        classes: Sequence[str],
        on_finish: Callable[[Person, ErrorRates], None],
    ) -> None:
        self.opening = opening
        self._deck, self._journal, self._classes, self._on_finish = deck, journal, classes, on_finish
        self._players: dict[str, Player] = {}
        self._shown: dict[str, Card] = {}

    def join(self, name: str) -> str:
        """Let somebody begin; returns the secret that they are known by.

        Raises:
            NoSuchThing: too many have.
        """
        if len(self._players) >= MOST_PEOPLE:
            raise NoSuchThing("This quiz is full.")
        number, known_as = len(self._players) + 1, one_line(name)[:LONGEST_NAME] or None
        player = Player(number, known_as, self._deck.deal(number))
        self._journal.append(Joined(person=number, name=known_as))
        secret = secrets.token_urlsafe(16)
        self._players[secret] = player
        self._uncover(player)
        return secret

    def player(self, secret: str) -> Player:
        """Who has this secret.

        Raises:
            NoSuchThing: nobody.
        """
        try:
            return self._players[secret]
        except KeyError:
            raise NoSuchThing("This quiz does not know you; begin again.") from None

    def png(self, address: str) -> bytes:
        """The image at this address, as long as somebody is asked about it.

        Raises:
            NoSuchThing: nobody is.
        """
        try:
            return self._deck.png(self._shown[address])
        except KeyError:
            raise NoSuchThing("No such image.") from None

    def answer(self, secret: str, address: str, *, said_generated: bool) -> Player:
        """Take an answer; one that has been given already stays as it was.

        Raises:
            NoSuchThing: nobody has this secret, or they are not asked about this image.
        """
        player = self.player(secret)
        if any(card.address == address for card in player.cards[: len(player.answers)]):
            return player  # sent twice, as when the connection broke before we were heard
        card = player.card
        if card is None or card.address != address:
            raise NoSuchThing("You are not asked about this image.")
        label = None if card.label is None else self._classes[card.label]
        answer = Answer(
            person=player.number,
            generated=card.generated,
            index=card.index,
            label=label,
            said_generated=said_generated,
        )
        self._journal.append(answer)
        player.answers.append(answer)
        del self._shown[address]
        self._uncover(player)
        if player.card is None:
            self._on_finish(player.person, self.rates(player))
        return player

    def rates(self, player: Player) -> ErrorRates:
        """The errors of one player."""
        return error_rates([player.person.tally], self.opening.confidence)

    def _uncover(self, player: Player) -> None:
        if player.card is not None:
            self._shown[player.card.address] = player.card
