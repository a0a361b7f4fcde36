"""A DVC project with the stages of ours, each a line of Python, made in a temporary folder."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
INPUTS: dict[str, tuple[str, ...]] = {
    "preprocess": ("data/raw/digits.zip",),
    "extractor": ("preprocess.txt",),
    "train": ("preprocess.txt", "extractor.txt"),
    "evaluate": ("preprocess.txt", "train.txt"),
    "register": ("train.txt", "evaluate.txt"),
}
STAGES = tuple(INPUTS)
# Joins its inputs. What `behaviour` has in store for a stage is unknown to DVC.
STAGE_PY = """
import pathlib, sys, time

name, *inputs, output = sys.argv[1:]
print(f"{name} works", flush=True)
behaviour = pathlib.Path("behaviour", name)
if behaviour.exists():
    exec(behaviour.read_text())
pathlib.Path(output).write_text("".join(pathlib.Path(file).read_text() for file in inputs) + name)
"""
SLEEP_WITH_CHILD = "import subprocess; subprocess.Popen(['sleep', '300']); print('asleep', flush=True); time.sleep(300)"
RUN = (
    "import sys; from pathlib import Path; from pipelines.flows.run import run_pipeline; "
    "sys.exit(run_pipeline(Path.cwd()))"
)
SCHEDULE = (
    "from pathlib import Path; from pipelines.flows.schedule import schedule_pipeline; "
    "schedule_pipeline(Path.cwd(), cron='{cron}')"
)


@dataclass(frozen=True)
class ToyProject:
    """The project's folder and what tests do to it."""

    root: Path

    def behave(self, stage: str, code: str) -> None:
        (self.root / "behaviour").mkdir(exist_ok=True)
        (self.root / "behaviour" / stage).write_text(code)

    def behave_well(self) -> None:
        for file in (self.root / "behaviour").glob("*"):
            file.unlink()

    def change_data(self, text: str) -> None:
        (self.root / "data/raw/digits.zip").write_text(text)

    def processes(self) -> list[psutil.Process]:
        """All living processes that work in the project's folder, but this one."""
        return processes_in(self.root)


def make_project(root: Path, *, no_scm: bool = True, **flow: Any) -> ToyProject:
    """Make the project, in git or not; `flow` replaces entries of that section of params.yaml."""
    from dvc.repo import Repo

    (root / "data/raw").mkdir(parents=True)
    (root / "stage.py").write_text(STAGE_PY)
    stages: dict[str, dict[str, Any]] = {
        name: {
            "desc": f"The {name} stage",
            "cmd": f"python stage.py {name} {' '.join(inputs)} {name}.txt",
            "deps": list(inputs),
            "outs": [f"{name}.txt"],
        }
        for name, inputs in INPUTS.items()
    }
    stages["train"]["params"] = ["train.seed"]
    # Not in the order of the graph: that has to be found out.
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": dict(reversed(stages.items()))}, sort_keys=False))
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["flow"] |= {"retries": 1, "retry_delay_s": 0, **flow}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    if not no_scm:
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    Repo.init(str(root), no_scm=no_scm).close()
    project = ToyProject(root)
    project.change_data("raw")
    if not no_scm:
        (root / ".gitignore").write_text("/.ganlib/\n" + "".join(f"/{name}.txt\n" for name in STAGES))
        commit_all(project)
    return project


def commit_all(project: ToyProject) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for command in (("add", "-A"), (*identity, "commit", "-qm", "as it is")):
        subprocess.run(["git", *command], cwd=project.root, check=True)


def processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            inside = Path(process.cwd()).is_relative_to(folder)
        except psutil.Error:  # ended meanwhile, or not ours
            continue
        if inside and process.pid != os.getpid():
            found.append(process)
    return found


def wait_until(condition: Callable[[], object], *, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


def run_in(folder: Path, code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run some Python in a folder, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
