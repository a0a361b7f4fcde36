"""Answers survive whatever happens to the process."""

from pathlib import Path

import pytest

from ganlib.errors import UserError
from ganlib.people import Tally
from pipelines.quiz.answers import SUFFIX, Answer, Joined, Journal, Opening


def answer(person: int, *, generated: bool, said_generated: bool) -> Answer:
    return Answer(person=person, generated=generated, index=7, label="3", said_generated=said_generated)


def test_what_was_written_is_read_again(tmp_path: Path, opening: Opening) -> None:
    journal = Journal.begin(tmp_path, opening)
    journal.append(Joined(person=1, name="Ada\n<b>"))
    journal.append(Joined(person=2, name=None))
    journal.append(Joined(person=3, name=None))
    for kind in (False, True, True, True):
        journal.append(answer(1, generated=kind, said_generated=True))
    journal.append(answer(3, generated=False, said_generated=False))
    sheet = journal.read()
    assert [(each.called, each.complete) for each in sheet.people] == [("Ada\n<b>", True), ("person 3", False)]
    assert [each.tally for each in sheet.people] == [Tally(1, 1, 3, 0), Tally(1, 0, 0, 0)]
    assert sheet.rates.overall.estimate == pytest.approx(1 / 5)
    journal.close(remove=True)
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_short_does_not_count(tmp_path: Path, opening: Opening) -> None:
    journal = Journal.begin(tmp_path, opening)
    journal.append(Joined(person=1, name=None))
    journal.append(answer(1, generated=True, said_generated=True))
    whole = journal.path.read_bytes()
    journal.append(answer(1, generated=True, said_generated=False))
    longer = journal.path.read_bytes()
    for length in range(len(whole), len(longer)):
        journal.path.write_bytes(longer[:length])
        assert len(journal.read().people[0].answers) == 1
    journal.close(remove=False)


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense\n", b"{}\n", b'{"kind":"joined","person":1,"name":null}\n'])
def test_damage_is_one_line(content: bytes, tmp_path: Path, opening: Opening) -> None:
    journal = Journal.begin(tmp_path, opening)
    journal.path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged answers of a quiz \(.*\); mend the file, or move it elsewhere$"):
        journal.read()
    journal.close(remove=False)


def test_only_quizzes_that_have_died_are_left_behind(tmp_path: Path, opening: Opening) -> None:
    living = Journal.begin(tmp_path, opening)
    assert not list(Journal.left_behind(tmp_path))
    living.close(remove=False)
    (found,) = Journal.left_behind(tmp_path)
    assert found.read().opening == opening
    assert not list(Journal.left_behind(tmp_path))
    found.close(remove=True)
    assert not list(Journal.left_behind(tmp_path / "nothing"))


def test_a_quiz_that_died_before_its_first_line_is_forgotten(tmp_path: Path) -> None:
    for content in (b"", b'{"started": "2026'):
        path = tmp_path / f"{len(content)}{SUFFIX}"
        path.write_bytes(content)
        assert not list(Journal.left_behind(tmp_path))
        assert not path.exists()
