"""Answers on disk, a line each as they come in, and what they amount to."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, Self

from pydantic import Discriminator, TypeAdapter

from ganlib.config import Options
from ganlib.errors import UserError
from ganlib.people import ErrorRates, Tally, error_rates

SUFFIX = ".jsonl"


class Opening(Options):
    """What a quiz is about: its first line.

    Attributes:
        started: in UTC, as 20240131T120000Z.
        experiment: where the generator's run is.
        generator_sha256: of the generator.
        seen_images: that it was trained for.
        images_per_person: that each is asked about, half of them generated.
        exposure_ms: for how long each is shown; 0: until it is answered.
        seed: of the choice of images.
        confidence: of the intervals.
    """

    started: str
    experiment: str
    generator_sha256: str
    seen_images: int
    images_per_person: int
    exposure_ms: int
    seed: int
    confidence: float


class Joined(Options):
    """Somebody begins; they have a name only if they gave one."""

    kind: Literal["joined"] = "joined"
    person: int
    name: str | None


class Answer(Options):
    """What somebody said of an image; `index` is that of the held-out image, or the generated one's seed."""

    kind: Literal["answer"] = "answer"
    person: int
    generated: bool
    index: int
    label: str | None
    said_generated: bool

    @property
    def wrong(self) -> bool:
        """Whether it was taken for the other kind."""
        return self.generated != self.said_generated


_LINE: TypeAdapter[Joined | Answer] = TypeAdapter(Annotated[Joined | Answer, Discriminator("kind")])


class Person(Options):
    """Somebody's answers; `complete` if all images were answered."""

    person: int
    name: str | None
    complete: bool
    answers: tuple[Answer, ...]

    @property
    def called(self) -> str:
        """How to speak of them."""
        return self.name or f"person {self.person}"

    @property
    def tally(self) -> Tally:
        """Their answers, counted."""
        reals, fakes = ([each for each in self.answers if each.generated is kind] for kind in (False, True))
        return Tally(len(reals), sum(each.wrong for each in reals), len(fakes), sum(each.wrong for each in fakes))


class Sheet(Options):
    """A whole quiz; people who answered nothing are not in it."""

    opening: Opening
    people: tuple[Person, ...]

    @classmethod
    def of(cls, opening: Opening, lines: Sequence[Joined | Answer]) -> Self:
        """Put what came in one after another together again."""
        names = {line.person: line.name for line in lines if isinstance(line, Joined)}
        people = []
        for number, name in names.items():
            answers = tuple(line for line in lines if isinstance(line, Answer) and line.person == number)
            complete = len(answers) == opening.images_per_person
            if answers:
                people.append(Person(person=number, name=name, complete=complete, answers=answers))
        return cls(opening=opening, people=tuple(people))

    @property
    def rates(self) -> ErrorRates:
        """Of all people together.

        Raises:
            UserError: nobody has answered.
        """
        return error_rates([each.tally for each in self.people], self.opening.confidence)


class Journal:
    """A quiz on disk, locked as long as this process lives: nothing that was answered is lost with the process."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file

    @classmethod
    def begin(cls, folder: Path, opening: Opening) -> Self:
        """A new one."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{opening.started}-{os.getpid()}{SUFFIX}"
        file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        journal = cls(path, file)
        journal.append(opening)
        return journal

    @classmethod
    def left_behind(cls, folder: Path) -> Iterator[Self]:
        """Those of quizzes whose processes have died; damaged ones too."""
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            file = path.open("r+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            journal = cls(path, file)
            if b"\n" in path.read_bytes():
                yield journal
            else:  # died before anything could be answered
                journal.close(remove=True)

    def append(self, line: Opening | Joined | Answer) -> None:
        """Write a line down; it is on disk when this returns."""
        self._file.write(line.model_dump_json().encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def read(self) -> Sheet:
        """All of it, without a last line that was cut short.

        Raises:
            UserError: the file is damaged.
        """
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")
        try:
            first, *others = whole.splitlines()
            opening = Opening.model_validate_json(first)
            return Sheet.of(opening, [_LINE.validate_json(line) for line in others])
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.path}: damaged answers of a quiz ({reason}); mend the file, or move it elsewhere"
            ) from None

    def close(self, *, remove: bool) -> None:
        """Let go of the file, and remove it where it is needed no more."""
        if remove:
            self.path.unlink(missing_ok=True)
        self._file.close()
