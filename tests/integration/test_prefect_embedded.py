"""`gan run` without a server: it brings its own, and leaves nothing behind however it ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import paths
from tests.toy_project import RUN, SLEEP_WITH_CHILD, STAGES, ToyProject, make_project, run_in, wait_until

# The cron schedule of another test comes round while these run.
pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.usefixtures("cron_project")]
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


@pytest.fixture(scope="module")
def environment(prefect_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """No server is configured; a password is left over from one that was, and a proxy stands before all hosts."""
    alone = {name: value for name, value in prefect_environment.items() if not name.startswith("PREFECT_")}
    left_over = {"PREFECT_SERVER_API_AUTH_STRING": "anna:secret", "PREFECT_API_AUTH_STRING": "anna:other"}
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9") | {
        "NO_PROXY": "",
        "no_proxy": "",
    }
    return alone | left_over | proxies | {"PREFECT_HOME": str(tmp_path_factory.mktemp("home"))}


@pytest.fixture(scope="module")
def finished(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ToyProject, subprocess.CompletedProcess[str]]:
    project = make_project(tmp_path_factory.mktemp("finished") / "project")
    return project, run_in(project.root, RUN, environment)


def test_a_run_brings_its_own_server_and_takes_it_away(
    finished: tuple[ToyProject, subprocess.CompletedProcess[str]],
) -> None:
    project, done = finished
    assert (done.returncode, done.stderr) == (0, "")
    for name in STAGES:
        assert f"{name} | {name} works" in done.stdout
        assert (project.root / f"{name}.txt").exists()
    # Our own words: that a server starts and, on a busy machine, that it is still waited for.
    theirs = re.sub(r"Prefect('s)? server", "", done.stdout)
    assert "prefect" not in theirs.lower(), "no noise"
    assert project.processes() == []


def test_however_it_is_killed_nothing_is_left(
    environment: dict[str, str], tmp_path: Path, finished: tuple[ToyProject, subprocess.CompletedProcess[str]]
) -> None:
    runs = {}
    for number in EXIT_CODES:
        project = make_project(tmp_path / number.name)
        project.behave("preprocess", SLEEP_WITH_CHILD)
        # The server's database is there already, as after a first run: it starts faster.
        shutil.copytree(finished[0].root / paths.PREFECT_HOME, project.root / paths.PREFECT_HOME)
        runs[number] = project, start_run(project, environment)
    for number, (project, process) in runs.items():
        log = project.root / "output.log"
        wait_until(lambda log=log: "| asleep" in log.read_text(), timeout_s=120, what=f"the stage runs ({number.name})")
        assert len(project.processes()) >= 6, "run, two supervisors, server, dvc, stage and its child"
        os.kill(process.pid, number)
    for number, (project, process) in runs.items():
        assert process.wait(timeout=30) == EXIT_CODES[number]
        wait_until(lambda project=project: not project.processes(), timeout_s=15, what=f"all end ({number.name})")
        assert "Traceback" not in (project.root / "output.log").read_text()
    # The locks are free again: the next run goes straight to work.
    project = runs[signal.SIGKILL][0]
    project.behave_well()
    done = run_in(project.root, RUN, environment)
    assert done.returncode == 0
    assert "waiting" not in done.stdout
    assert (project.root / paths.PIPELINE_LOCK).exists()


def test_the_loss_of_the_server_is_one_line_and_the_next_run_completes(
    environment: dict[str, str], tmp_path: Path, finished: tuple[ToyProject, subprocess.CompletedProcess[str]]
) -> None:
    project = make_project(tmp_path / "project")
    release = tmp_path / "release"
    project.behave("preprocess", f"while not pathlib.Path({str(release)!r}).exists(): time.sleep(0.1)")
    shutil.copytree(finished[0].root / paths.PREFECT_HOME, project.root / paths.PREFECT_HOME)
    process = start_run(project, environment)
    log = project.root / "output.log"
    wait_until(lambda: "| preprocess works" in log.read_text(), timeout_s=120, what="the stage runs")
    (server,) = [each for each in project.processes() if "server" in each.cmdline() and "--" not in each.cmdline()]
    server.kill()
    release.touch()
    assert process.wait(timeout=150) == 1
    lines = log.read_text().splitlines()
    assert lines[-1].startswith("error: the Prefect server failed (")
    warnings = [line for line in lines[:-1] if not re.match(r"\w+ \| |starting a|still waiting", line)]
    assert [line.partition(" ")[0] for line in warnings] == ["Unable"], warnings
    assert run_in(project.root, RUN, environment).returncode == 0
    assert project.processes() == []


def test_a_server_that_does_not_start_is_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project.root / paths.PREFECT_HOME).mkdir(parents=True)
    (project.root / paths.PREFECT_HOME / "prefect.db").write_text("not a database " * 100)
    done = run_in(project.root, RUN, environment)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: the Prefect server exited with code \d+ while it started; see .*server\.log\n", done.stderr
    )
    assert project.processes() == []


def start_run(project: ToyProject, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # A shell in the background would have its children ignore Ctrl-C.
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {RUN}"
    with (project.root / "output.log").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=project.root,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
