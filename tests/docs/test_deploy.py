"""What a machine without containers can check of docs/deploy: every command, option, variable and file exists."""

import configparser
import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml

from pipelines.environment import quiet_environment
from pipelines.flows.schedule import WORK_POOL
from tests.configs import ROOT

pytestmark = pytest.mark.integration
FOLDER = ROOT / "docs/deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
COMMANDS = {
    name: shlex.split(service["command"]) for name, service in COMPOSE["services"].items() if "build" in service
}
# How long an option's name is shown before it is broken.
WIDE = {"COLUMNS": "200", "TERM": "dumb"}


def helped(*command: str) -> set[str]:
    """The options that a command tells of."""
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True, timeout=300,
        env={**quiet_environment(), **WIDE, "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout))


def given(words: list[str]) -> set[str]:
    """Without what is an option's value, and options of another command itself."""
    return {word for word in words if word.startswith("-") and " " not in word}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("service", "words"), [("mlflow", 2), ("prefect", 3), ("worker", 3)], ids=["mlflow", "prefect", "worker"]
)
def test_every_option_of_a_service_exists(service: str, words: int) -> None:
    command = COMMANDS[service]
    assert given(command[words:]) <= helped(*command[:words])
    if service == "mlflow":
        passed_on = shlex.split(command[command.index("--uvicorn-opts") + 1])
        assert given(passed_on) <= helped("uvicorn")
    if service == "worker":
        assert command[command.index("--pool") + 1] == WORK_POOL


def test_every_variable_has_an_example_and_every_example_is_used() -> None:
    used = set(re.findall(r"\$\{(\w+)\}", (FOLDER / "compose.yaml").read_text(encoding="utf-8")))
    examples = re.findall(r"^(\w+)=", (FOLDER / "env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert used == set(examples)


def test_every_file_is_there_or_made_from_its_example() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (FOLDER / source).exists() or (FOLDER / f"{source}.example").exists(), source
            elif not source.startswith("$"):
                assert source in COMPOSE["volumes"]
    build = COMPOSE["services"]["mlflow"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).exists()


def test_the_services_agree_with_each_other() -> None:
    sql = (FOLDER / "databases.sql").read_text(encoding="utf-8")
    made = set(re.findall(r"CREATE DATABASE (\w+);", sql))
    auth = configparser.ConfigParser()
    auth.read(FOLDER / "auth.ini.example")
    told = json.dumps(COMPOSE) + auth["mlflow"]["database_uri"]
    assert set(re.findall(r"@postgres/(\w+)", told)) == made
    (identity,) = json.loads((FOLDER / "s3.json.example").read_text(encoding="utf-8"))["identities"]
    assert {"Read", "Write", "List"} <= set(identity["actions"])
    hosts = set(re.findall(r"http://(\w+):\d+", told))
    assert hosts <= COMPOSE["services"].keys()
