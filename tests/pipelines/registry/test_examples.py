"""What README, docs and the model card tell readers to do with a registered model, done."""

import ast
import base64
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from pipelines import environment, paths
from pipelines.registry import promotion
from pipelines.registry.register import register
from pipelines.report.card import write_card
from tests import report_project
from tests.configs import ROOT
from tests.mlflow_server import free_port, wait_until
from tests.registered import be_ada, compared, comparison

pytestmark = pytest.mark.integration
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "5001"


@pytest.fixture
def texts(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """All documents, the card that a version keeps among them; the version is registered, and the champion."""
    report_project.make_project(project)
    facts = report_project.gathered(Path())

    def card(version: str, folder: Path) -> Path:
        write_card(facts, version, folder / paths.MODEL_CARD.name)
        return folder / paths.MODEL_CARD.name

    registration = register(
        options=facts.config.register_,
        experiment="digits",
        generator_folder=paths.GENERATOR,
        write_card=card,
        evaluation=facts.evaluation,
        background=facts.config.data.background,
        tags=report_project.LINEAGE,
        contest=lambda _: comparison(compared(1, 2)),
        describe=lambda found, _run_id: found.verdict.reason,
    )
    be_ada(tmp_path, monkeypatch)
    promotion.promote(registration.model_name, registration.version, "for the examples", say=print)
    (kept,) = (project / "mlruns").rglob(paths.MODEL_CARD.name)
    documents = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}
    return documents | {"card": kept.read_text(encoding="utf-8")}


def run_python(code: str) -> Any:
    """The value of its last line."""
    *body, last = ast.parse(code).body
    names: dict[str, Any] = {}
    exec(compile(ast.Module(body, []), "example", "exec"), names)
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "example", "eval"), names)


@contextmanager
def served(command: str, project: Path) -> Iterator[str]:
    port = str(free_port())
    program, *arguments = shlex.split(command.replace(PORT, port))
    environ = {**os.environ, **environment.quiet_environment(), "OMP_NUM_THREADS": "1"}
    with (project / "serving.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments], env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: answers(port), "an answer of the server", timeout_s=120)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def answers(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ping", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


# MLflow's own types provoke this when mlflow.pyfunc is imported.
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_examples_in_python_and_over_http_say_the_same(texts: dict[str, str], project: Path) -> None:
    drawn: dict[str, list[str]] = {}
    commands: dict[str, list[str]] = {}
    for name, text in texts.items():
        for kind, code in BLOCK.findall(text):
            if kind == "python" and "mlflow" in code:
                drawn[name] = run_python(code)
            elif kind == "python" and "ImageGenerator" in code and "translate_image" not in code:  # no translator here
                exec(code, {})
            elif kind == "console" and "mlflow models serve" in code:
                commands[name] = [line.removeprefix("$ ") for line in code.splitlines() if line.startswith("$ ")]
    assert drawn.keys() == commands.keys() >= {"using_a_model.md", "card"}
    assert [len(drawn[name]) for name in ("using_a_model.md", "card")] == [2, 4]
    for png in drawn["card"]:
        assert Image.open(io.BytesIO(base64.b64decode(png))).size == (16, 16)
    assert "models:/digits/1" in texts["card"]
    assert "@" not in "".join(commands["card"])
    serve = {name: re.sub(r"models:\S+", "URI", lines[0]) for name, lines in commands.items()}
    assert len(set(serve.values())) == 1
    with served(commands["using_a_model.md"][0], project) as port:
        for name, (_, *questions) in commands.items():
            (question,) = questions
            asked = subprocess.run(["bash", "-c", question.replace(PORT, port)], capture_output=True, check=True)
            (answer,) = json.loads(asked.stdout)["predictions"]
            assert answer["images"] == drawn[name]
