"""The pipeline is killed at random moments; afterwards one `gan run` ends as if nothing had happened.

`GANLIB_KILLS` is the number of moments (some minutes each on a busy machine), `GANLIB_KILLS_FIRST` the first of them,
`GANLIB_KILLS_PROJECT` one of `toy` and `tiny`. Each moment is drawn from its own number alone, so that one that failed
can be repeated by itself.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from pipelines import paths
from tests import toy_project
from tests.pipeline_project import Project, make_project
from tests.prefect_services import Services, default_signals
from tests.toy_project import processes_in, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]
FIRST = int(os.environ.get("GANLIB_KILLS_FIRST", "0"))
KINDS = os.environ.get("GANLIB_KILLS_PROJECT", "toy tiny").split()
MOMENTS = range(FIRST, FIRST + int(os.environ.get("GANLIB_KILLS", "50")))
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
VICTIMS = {
    "repro": ("stage", "command"),
    "run": ("stage", "command", "server"),
    "schedule": ("stage", "flow", "worker", "server"),
}
COMMAND_S = 1500
GRACE_S = 60
TWO_MINUTES_S = 120
Victims = Mapping[str, Callable[[], list[psutil.Process]]]


@dataclass(frozen=True)
class Moment:
    """Who drives the pipeline, who is struck by what, and when: as a share of an undisturbed run's length."""

    driver: str
    blows: tuple[tuple[str, signal.Signals], ...]
    share: float

    @classmethod
    def drawn(cls, number: int) -> "Moment":
        draw = random.Random(number)
        driver = draw.choice([*VICTIMS])
        victims = draw.sample(VICTIMS[driver], draw.randint(1, len(VICTIMS[driver])))
        return cls(driver, tuple((each, draw.choice(SIGNALS)) for each in victims), draw.random())

    def strike(self, victims: Victims, after_s: float) -> None:
        """Wait, then hit them all at once."""
        time.sleep(after_s)
        for process, number in [(found, number) for name, number in self.blows for found in victims[name]()]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@dataclass(frozen=True)
class Reference:
    """A project before its first run, what comes of it undisturbed, and how long that takes by driver."""

    template: Path
    outcome: dict[str, str]
    seconds: dict[str, float]

    def copy(self, folder: Path) -> Project:
        shutil.copytree(self.template, folder, symlinks=True)
        return Project(folder)


def make_tiny(root: Path) -> Path:
    """The project itself with little to do; gives the file that its first stage begins with."""
    made = make_project(root)
    made.set_params({"evaluate.accuracy_score_images": None, "evaluate.latent.kept_share": None})
    made.git("commit", "-qam", "less to measure")
    # What the first run makes once is there already: less time for each moment.
    store = "import mlflow; mlflow.MlflowClient('sqlite:///mlflow.db').search_experiments(max_results=1)"
    subprocess.run([sys.executable, "-c", store], cwd=root, check=True, capture_output=True)
    return paths.PACKING_LOCK


def make_toy(root: Path) -> Path:
    """Stages of one line that take two seconds each: all that is around them, and many more moments in an hour."""
    toy = toy_project.make_project(root)
    for stage in toy_project.STAGES:
        toy.behave(stage, "pathlib.Path(output + '.begun').touch(); time.sleep(2)")
    (root / "pipelines").symlink_to(toy_project.REPOSITORY / "pipelines")
    (root / "ganlib").symlink_to(toy_project.REPOSITORY / "ganlib")
    return Path("preprocess.txt.begun")


MAKERS = {"toy": make_toy, "tiny": make_tiny}


@pytest.fixture(scope="module", params=KINDS)
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    root = tmp_path_factory.mktemp(request.param)
    first_file = MAKERS[request.param](root / "template")
    shutil.copytree(root / "template", root / "run", symlinks=True)
    project = Project(root / "run")
    started = time.time()
    run(project)
    ended, first_stage = time.time(), (project.root / first_file).stat().st_mtime
    assert left_behind(project) == []
    shutil.copytree(project.root / paths.PREFECT_HOME, root / "template" / paths.PREFECT_HOME)
    seconds = {"run": ended - started, "repro": ended - first_stage, "schedule": ended - first_stage}
    return Reference(root / "template", outcome(project), seconds)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with Services(tmp_path_factory.mktemp("services")) as running:
        yield running


@pytest.mark.parametrize("number", MOMENTS)
def test_killed_at_a_random_moment(number: int, reference: Reference, services: Services, tmp_path: Path) -> None:
    moment = Moment.drawn(number)
    print(moment)
    project = reference.copy(tmp_path / "project")
    after_s = moment.share * reference.seconds[moment.driver]
    try:
        if moment.driver == "schedule":
            strike_the_schedule(moment, project, after_s, services)
        else:
            strike_a_command(moment, project, after_s)
        assert "waiting for" not in run(project, PREFECT_API_URL=services.url)
        assert outcome(project) == reference.outcome
        assert left_behind(project) == []
    finally:
        for process in processes_in(project.root):  # of a moment that failed: the next one shall not wait for them
            with suppress(psutil.NoSuchProcess):
                process.kill()


def run(project: Project, **variables: str) -> str:
    """`gan run` to its end; what it said."""
    command = (sys.executable, "-m", "pipelines.cli", "run")
    done = project.run(*command, timeout_s=COMMAND_S, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def strike_a_command(moment: Moment, project: Project, after_s: float) -> None:
    with (project.root.parent / "output.log").open("wb") as log:
        command = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", moment.driver],
            cwd=project.root,
            env=project.environment,
            stdout=log,
            stderr=log,
            preexec_fn=default_signals,
            start_new_session=True,
        )
    try:
        moment.strike(
            {
                "stage": lambda: stages(project),
                "command": lambda: [psutil.Process(command.pid)],
                "server": lambda: named(project, "server", "start"),
            },
            after_s,
        )
        command.wait(timeout=COMMAND_S)
    finally:
        command.kill()
    wait_until(lambda: not processes_in(project.root), timeout_s=GRACE_S, what="all processes end")


def strike_the_schedule(moment: Moment, project: Project, after_s: float, services: Services) -> None:
    services.schedule(project.root, cron="* * * * *")
    try:
        services.wait_for_run("RUNNING", since=time.time() - 1, timeout_s=300)
        moment.strike(
            {
                "stage": lambda: stages(project),
                "flow": lambda: named(project, "prefect.engine"),
                "worker": services.worker_processes,
                "server": services.server_processes,
            },
            after_s,
        )
        struck = time.time()
        services.wait_for_run("PENDING", "RUNNING", "COMPLETED", since=struck, timeout_s=TWO_MINUTES_S)
        services.wait_for_run("COMPLETED", since=struck, timeout_s=COMMAND_S)
    finally:
        services.remove_schedule(project.root)
    wait_until(lambda: not processes_in(project.root), timeout_s=COMMAND_S, what="all processes end")


def named(project: Project, *words: str) -> list[psutil.Process]:
    """The processes in the project's folder whose command lines hold all the words, without shells and supervisors."""
    found = []
    for process in processes_in(project.root):
        with suppress(psutil.Error):
            line = process.cmdline()
            if all(any(word in part for part in line) for word in words) and not {"--", "-c"}.intersection(line):
                found.append(process)
    return found


def stages(project: Project) -> list[psutil.Process]:
    return [*named(project, "pipelines.stages."), *named(project, "stage.py")]


def outcome(project: Project) -> dict[str, str]:
    """What DVC has recorded of each output, and the generator's digest."""
    lock: dict[str, Any] = yaml.safe_load((project.root / paths.DVC_LOCK).read_text(encoding="utf-8"))
    recorded = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    generator = project.root / paths.GENERATOR
    return recorded | ({"generator": project.generator_hash()} if generator.exists() else {})


def left_behind(project: Project) -> list[str]:
    """Half-written files, entries that were not delivered and locks that are held."""
    found = [str(path) for path in project.root.rglob("*") if path.suffix in {".partial", ".tmp", ".new"}]
    found += map(str, (project.root / paths.SPOOL).glob("*"))
    found += map(str, filter(held, project.root.rglob("*.lock")))
    rwlock = project.root / ".dvc/tmp/rwlock"
    if rwlock.exists() and any(json.loads(rwlock.read_text(encoding="utf-8") or "{}").values()):
        found.append(f"{rwlock}: {rwlock.read_text(encoding='utf-8')}")
    if not (project.root / ".git").exists():
        return found
    unknown = [line for line in project.git("status", "--porcelain", "-uall").splitlines() if line.startswith("??")]
    return found + [line for line in unknown if not line[3:].startswith(("reports/", "dvc.lock"))]


def held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
