"""People play the real quiz in a real browser."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from ganlib.datasets.packed.reading import open_packed
from ganlib.packaging import generator_sha256
from pipelines import paths
from tests.browser import PHONE, needs_browser, open_browser, open_page, scrolls_sideways
from tests.toy_project import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.thorough, needs_browser]
COUNT, EXPOSURE_MS = 6, 500
# A shell in the background would have its children ignore Ctrl-C.
CODE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from pipelines.cli import main; main()"
# What the canvas says of itself and shows at each change: by the time one asks from here, it may be the next thing.
WATCH = """window.marks = [];
const canvas = document.getElementById('image');
const pixels = () => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data);
new MutationObserver(() => window.marks.push([performance.now(), canvas.ariaLabel, pixels()]))
  .observe(canvas, {attributeFilter: ['aria-label']});"""


@dataclass(frozen=True)
class Quiz:
    """`gan quiz` as a process, and the held-out images, by which its truth is known."""

    process: subprocess.Popen[bytes]
    project: Path
    address: str
    held_out: set[bytes]

    def said(self) -> str:
        return (self.project / "output.log").read_text()

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(timeout=60) == 0, self.said()


def start(project: Path) -> Quiz:
    log = project / "output.log"
    command = [sys.executable, "-c", CODE, "quiz", "--port", "0", "--seed", "1"]
    command += ["--count", str(COUNT), "--exposure-ms", str(EXPOSURE_MS)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=project,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    wait_until(lambda: b"http" in log.read_bytes() or process.poll() is not None, timeout_s=240, what="the quiz starts")
    found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
    assert found, log.read_text()
    test = open_packed(project / paths.PROCESSED).test
    held_out = {image.tobytes() for image in test.take(np.arange(len(test)))}
    return Quiz(process, project, found.group(), held_out)


@contextmanager
def running(project: Path) -> Iterator[Quiz]:
    quiz = start(project)
    try:
        yield quiz
    finally:
        quiz.process.kill()
        quiz.process.wait()


@pytest.fixture(scope="module")
def quiz(quiz_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiz]:
    """One that several people play."""
    project = tmp_path_factory.mktemp("running") / "project"
    shutil.copytree(quiz_template, project)
    with running(project) as quiz:
        yield quiz


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with open_browser() as browser:
        yield browser


class Player:
    """Somebody who plays, and knows the truth from the pixels that the page is sent."""

    def __init__(self, page: "Page", quiz: Quiz) -> None:
        self.page, self.quiz = page, quiz
        self.shown: list[np.ndarray] = []
        page.route("**/images/*", self._look)

    def _look(self, route: "Route") -> None:
        response = route.fetch()
        self.shown.append(np.asarray(Image.open(io.BytesIO(response.body()))))
        route.fulfill(response=response)

    def wait_for_image(self, number: int) -> None:
        self.page.wait_for_selector(f"#image[aria-label^='Image {number}']")

    def is_generated(self) -> bool:
        return self.shown[-1].tobytes() not in self.quiz.held_out


def cells(page: "Page") -> dict[str, str]:
    return {name: page.inner_text(f"#{name}") for name in ("reals", "reals-wrong", "fakes", "fakes-wrong")}


def test_people_play_to_the_end_and_the_run_knows(quiz_project: Path, browser: "Browser") -> None:
    missed = {"real": 0, "generated": 0}
    refused = "Failed to load resource: net::ERR_CONNECTION_REFUSED"
    with running(quiz_project) as quiz, open_page(browser, quiz.address, expected=refused) as page:
        player = Player(page, quiz)
        assert f"You will see {COUNT} images" in page.inner_text("#welcome")
        assert "0.5 s" in page.inner_text("#exposure")
        page.fill("#name", "Ada <Lovelace>")
        page.click("text=Begin")
        for number in range(1, COUNT + 1):
            player.wait_for_image(number)
            kinds = ["real", "generated"]
            truth = kinds[player.is_generated()]
            wrong = number <= 2
            missed[truth] += wrong
            page.click(f"#{kinds[player.is_generated() ^ wrong]}")
        page.wait_for_selector("#result")
        assert page.inner_text("#verdict") == f"You were wrong on 2 of {COUNT} images"
        assert "error rate of 33 % (95 % interval 10 % to 70 %)" in page.inner_text("#rate")
        assert cells(page) == {
            "reals": "3", "reals-wrong": str(missed["real"]), "fakes": "3", "fakes-wrong": str(missed["generated"])
        }  # fmt: skip
        page.click("text=Somebody else's turn")
        page.click("text=Begin")
        player.wait_for_image(1)
        page.click(f"#{'generated' if player.is_generated() else 'real'}")
        player.wait_for_image(2)
        quiz.end()
        page.click("#real")
        page.wait_for_selector("#trouble")
        assert "your answers so far are kept" in page.inner_text("#reason")
    assert "Ada <Lovelace> has finished: wrong on 33 % of 6 images" in quiz.said()
    assert "person 2 (stopped early)" in quiz.said()
    check_run(quiz, missed)


def check_run(quiz: Quiz, missed: dict[str, int]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{quiz.project}/mlflow.db")
    experiment = client.get_experiment_by_name("quizzes")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["generator_sha256"] == generator_sha256(quiz.project / paths.GENERATOR)
    figures = {name.removeprefix("people/"): value for name, value in run.data.metrics.items()}
    assert (figures["answers"], figures["participants"]) == (COUNT + 1, 2)
    assert figures["error_rate"] == pytest.approx(2 / 7)
    assert figures["error_rate_low"] < 2 / 7 < figures["error_rate_high"]
    wrong = figures["reals_taken_for_fake"], figures["fakes_taken_for_real"]
    (file,) = (quiz.project / "mlruns").rglob("answers.json")
    people = json.loads(file.read_text())["people"]
    assert [(each["name"], each["complete"]) for each in people] == [("Ada <Lovelace>", True), (None, False)]
    answers = [answer for each in people for answer in each["answers"]]
    for kind, share, name in ((False, wrong[0], "real"), (True, wrong[1], "generated")):
        of_kind = [each["said_generated"] for each in answers if each["generated"] is kind]
        assert share == pytest.approx(missed[name] / len(of_kind))
    assert not list((quiz.project / paths.QUIZ).iterdir())


def test_the_keyboard_is_enough_and_the_image_disappears(quiz: Quiz, browser: "Browser") -> None:
    with open_page(browser, quiz.address) as page:
        player = Player(page, quiz)
        page.wait_for_selector("#name:focus")
        page.evaluate(WATCH)
        page.keyboard.type("r")  # a letter of the name, no answer
        page.keyboard.press("Enter")
        keys = ["r", "g", "ArrowLeft", "G", "R", "ArrowRight"]
        wrong = 0
        for number, key in enumerate(keys, start=1):
            player.wait_for_image(number)
            if number == 1:
                page.wait_for_selector("#image[aria-label*='was here']")
                (shown, _, image), (covered, _, noise) = page.evaluate("marks.slice(-2)")
                assert image[::4] == player.shown[0].ravel().tolist()
                assert noise[::4] != player.shown[0].ravel().tolist()
                assert EXPOSURE_MS - 20 < covered - shown < EXPOSURE_MS + 5000
            wrong += player.is_generated() != (key in {"g", "G", "ArrowRight"})
            page.keyboard.press(key)
        page.wait_for_selector("#verdict:focus")
        assert page.inner_text("#verdict") == f"You were wrong on {wrong} of {COUNT} images"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#name:focus")


def test_a_phone_in_the_dark_which_loads_the_page_again(quiz: Quiz, browser: "Browser") -> None:
    with open_page(browser, quiz.address, size=PHONE, dark=True) as page:
        player = Player(page, quiz)
        assert max(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")) < 60
        assert not scrolls_sideways(page)
        page.tap("text=Begin")
        for number in range(1, COUNT + 1):
            player.wait_for_image(number)
            assert not scrolls_sideways(page)
            buttons = [page.locator(f"#{name}").bounding_box() for name in ("real", "generated")]
            assert all(
                box is not None and box["height"] >= 44 and box["y"] + box["height"] <= PHONE[1] for box in buttons
            )
            page.tap("#real")
            if number == 3:
                page.wait_for_selector("text=Image 4 of")
                page.reload()
        page.wait_for_selector("#result")
        assert not scrolls_sideways(page)
        assert cells(page) == {"reals": "3", "reals-wrong": "0", "fakes": "3", "fakes-wrong": "3"}
