"""How a quiz starts and ends, and what arrives at the generator's run."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines import paths
from pipelines.quiz.answers import Answer, Joined, Journal, Opening
from pipelines.quiz.serving import conclude, serve_quiz
from tests.toy_project import wait_until
from tests.tracking_runs import client


def play(journal: Journal, person: int, name: str | None, wrong: int) -> None:
    journal.append(Joined(person=person, name=name))
    for place in range(4):
        kind = place % 2 == 0
        said = kind ^ (place < wrong)
        journal.append(Answer(person=person, generated=kind, index=place, label=None, said_generated=said))


def test_what_people_answered_arrives_at_the_run(
    project: Path, opening: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal.begin(paths.QUIZ, opening)
    for person, (name, wrong) in enumerate([("Ada", 1), (None, 3), (None, 2)], start=1):
        play(journal, person, name, wrong)
    conclude(journal)
    experiment = client().get_experiment_by_name("quizzes")
    (run,) = client().search_runs([experiment.experiment_id])
    figures = {name.removeprefix("people/"): value for name, value in run.data.metrics.items()}
    assert figures.pop("error_rate_low") < 0.5 < figures.pop("error_rate_high")
    assert figures == {
        "error_rate": 0.5,
        "fakes_taken_for_real": pytest.approx(4 / 6),
        "reals_taken_for_fake": pytest.approx(2 / 6),
        "answers": 12,
        "participants": 3,
    }
    (point,) = client().get_metric_history(run.info.run_id, "people/error_rate")
    assert point.step == 640
    (file,) = Path("mlruns").rglob("answers.json")
    assert file.parent.name == opening.started
    assert [each["name"] for each in json.loads(file.read_text())["people"]] == ["Ada", None, None]
    assert not list(paths.QUIZ.iterdir())
    assert "error rate 50 % (95 % interval " in capsys.readouterr().out


def test_nothing_answered_is_nothing_logged(
    project: Path, opening: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal.begin(paths.QUIZ, opening)
    journal.append(Joined(person=1, name="Ada"))
    conclude(journal)
    assert capsys.readouterr().out == "quiz: nobody has answered; nothing is logged\n"
    assert client().get_experiment_by_name("quizzes") is None
    assert not list(paths.QUIZ.iterdir())


def test_a_port_that_is_taken_is_one_line(quiz_project: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"^--port {port}: Address already in use; choose another one, or 0"):
            serve_quiz(port=port, count=4, exposure_ms=0, seed=0)
    assert not paths.QUIZ.exists()


def test_without_data_or_generator_there_is_no_quiz(quiz_project: Path) -> None:
    shutil.rmtree(paths.GENERATOR)
    with pytest.raises(UserError, match=r"generator\.json: missing"):
        serve_quiz(port=0, count=4, exposure_ms=0, seed=0)
    shutil.rmtree(paths.PROCESSED)
    with pytest.raises(UserError, match="preprocess stage"):
        serve_quiz(port=0, count=4, exposure_ms=0, seed=0)


@pytest.mark.integration
def test_answers_of_a_quiz_that_was_killed_are_logged_by_the_next(quiz_project: Path, opening: Opening) -> None:
    journal = Journal.begin(paths.QUIZ, opening)
    play(journal, 1, "Ada", 1)
    journal.close(remove=False)
    command = [sys.executable, "-m", "pipelines.cli", "quiz", "--port", "0", "--count", "4"]
    log = quiz_project / "output.log"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    with log.open("wb") as output:
        quiz = subprocess.Popen(command, cwd=quiz_project, env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: b"http" in log.read_bytes() or quiz.poll() is not None, timeout_s=240, what="it starts")
        quiz.send_signal(signal.SIGTERM)
        assert quiz.wait(timeout=30) == 143
    finally:
        quiz.kill()
    said = log.read_text()
    assert "was not ended; ending it now" in said
    assert "error rate 25 %" in said
    assert said.endswith("quiz: nobody has answered; nothing is logged\n")
    assert len(list(Path("mlruns").rglob("answers.json"))) == 1
