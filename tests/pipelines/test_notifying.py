"""Messages to people, by Apprise's own JSON channel to a real endpoint."""

import base64
import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from ganlib.errors import UserError
from pipelines import paths
from pipelines.graph.dag import StageFailed, StageOutcome
from pipelines.notifying import VARIABLE, notifications
from tests.evaluations import evaluation, registration, write_reports
from tests.toy_project import ToyProject, make_project, run_in

# DVC's own, in a library it uses; Apprise's.
pytestmark = [
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]
REPRO = "import sys; sys.argv = ['gan', 'repro']; from pipelines import cli; cli.main()"
SECRET = "s3cr3t"


class Endpoint:
    """Takes what is posted; refuses it where the path says so."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if "refuse" not in self.path:
                    messages.append(json.loads(content))
                self.send_response(403 if "refuse" in self.path else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    thread = Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    return make_project(tmp_path / "project")


def test_the_end_is_told_with_the_verdict_and_a_picture(
    project: ToyProject, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, endpoint.address)
    (project.root / "reports").mkdir()
    write_reports(project.root, evaluation(), registration("Better by 0.4."))
    (project.root / paths.PICTURES).mkdir(exist_ok=True)
    Image.new("L", (8, 8)).save(project.root / paths.SAMPLES)
    said: list[str] = []
    with notifications(project.root, said.append) as people:
        people.finished(project.root, [StageOutcome("train", "unchanged", 0.0)])
        assert endpoint.messages == [], "nobody wants to hear every night that there was nothing to do"
        people.finished(project.root, [StageOutcome("train", "ran", 1.0)])
    (message,) = endpoint.messages
    assert message["title"] == "digits"
    assert message["message"].startswith("Promoted: Better by 0.4 (digits, version 3)\n")
    assert message["type"] == "success"
    (attached,) = message["attachments"]
    assert base64.b64decode(attached["base64"]) == (project.root / paths.SAMPLES).read_bytes()
    assert said == []


def test_a_failure_is_told_and_still_raised(
    project: ToyProject, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, endpoint.address)
    for error in (UserError("too few images"), StageFailed("train", 1, ("boom",))):
        with pytest.raises(type(error)), notifications(project.root, print):
            raise error
    with pytest.raises(KeyboardInterrupt), notifications(project.root, print):
        raise KeyboardInterrupt
    assert [message["message"].splitlines()[0] for message in endpoint.messages] == [
        "Failed: too few images",
        "Failed: stage train failed with exit code 1: boom",
    ]
    assert {message["type"] for message in endpoint.messages} == {"failure"}


def test_a_run_tells_of_alarms_and_of_addresses_that_take_nothing(
    project: ToyProject, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms = "\n".join(
        f"print('train: alarm at {at} images shown: the critic has won', flush=True)" for at in (64, 128)
    )
    project.behave("train", alarms)
    addresses = f"{endpoint.address}/refuse nonsense://{SECRET} {SECRET} {endpoint.address}"
    done = run_in(project.root, REPRO, os.environ | {VARIABLE: addresses})
    assert done.returncode == 0, done.stderr
    assert [(message["type"], message["message"].splitlines()[0]) for message in endpoint.messages] == [
        ("warning", "train: alarm at 64 images shown: the critic has won"),
        ("success", "done; no version was registered"),
    ]
    told = [line for line in done.stdout.splitlines() if line.startswith(VARIABLE)]
    assert told[:3] == [
        "GANLIB_NOTIFY: json:… (1 of 4) did not take the message; check address and network",
        "GANLIB_NOTIFY: nonsense:… (2 of 4) is no address that Apprise knows; see https://appriseit.com/services/",
        "GANLIB_NOTIFY: address (3 of 4) is no address that Apprise knows; see https://appriseit.com/services/",
    ]
    assert len(told) == 6
    assert SECRET not in done.stdout + done.stderr
