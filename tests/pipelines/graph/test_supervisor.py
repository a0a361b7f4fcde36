import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.graph import supervisor
from tests.toy_project import processes_in, wait_until

STUBBORN = "trap '' TERM INT HUP; while true; do sleep 300 & wait; done"
FAMILY = "sleep 300 & sh -c 'sleep 300; true' & echo ready; wait"
LEFT_SESSION = "setsid sleep 300 & (setsid sleep 300 &) ; echo ready; wait"
SCRIPT = supervisor.__file__


def start(folder: Path, script: str) -> subprocess.Popen[bytes]:
    return supervisor.start(["sh", "-c", script], cwd=folder, env=os.environ, stdout=subprocess.PIPE)


def assert_nobody_left(folder: Path, timeout_s: float = 10) -> None:
    wait_until(lambda: not processes_in(folder), timeout_s=timeout_s, what=f"{processes_in(folder)} end")


def finish(process: subprocess.Popen[bytes]) -> int:
    code = supervisor.stop(process)
    assert process.stdout is not None
    process.stdout.close()
    return code


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 128 + 15), ("kill -KILL $$", 128 + 9)]
)
def test_output_and_exit_code_pass_through(tmp_path: Path, script: str, code: int) -> None:
    process = start(tmp_path, f"echo out; echo err >&2; {script}")
    assert process.stdout is not None
    assert process.stdout.read() == b"out\nerr\n"
    assert process.wait() == code
    finish(process)


def test_a_missing_command_is_one_line() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--", "no-such-command"], capture_output=True, input=b"", text=False)
    assert done.returncode == supervisor.COMMAND_NOT_FOUND
    assert done.stderr.count(b"\n") == 1


def test_without_a_command_it_explains_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "pipelines.graph.supervisor", "true"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, None])
def test_a_signal_or_the_end_of_input_ends_the_family(tmp_path: Path, number: int | None) -> None:
    process = start(tmp_path, FAMILY)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert len(processes_in(tmp_path)) >= 4
    if number is not None:
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert finish(process) == 128 + signal.SIGTERM
    assert not processes_in(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_descendants_that_left_the_session_end_too(tmp_path: Path) -> None:
    process = start(tmp_path, LEFT_SESSION)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    finish(process)
    assert not processes_in(tmp_path)


def test_what_a_finished_command_leaves_behind_ends(tmp_path: Path) -> None:
    process = start(tmp_path, "sleep 300 & exit 4")
    assert process.wait(timeout=10) == 4
    finish(process)
    assert not processes_in(tmp_path)


def test_the_stubborn_are_killed_after_the_time_of_grace(tmp_path: Path) -> None:
    code = (
        "import sys; from pipelines.graph.supervisor import supervise\n"
        f"sys.exit(supervise({['sh', '-c', STUBBORN]!r}, grace_s=0.3))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE)
    wait_until(lambda: len(processes_in(tmp_path)) >= 3, timeout_s=60, what="the family starts")
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGKILL
    assert not processes_in(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_outlives_a_killed_parent(tmp_path: Path, number: int) -> None:
    code = (
        "import os, subprocess, time; from pathlib import Path; from pipelines.graph import supervisor\n"
        f"supervisor.start({['sh', '-c', FAMILY]!r}, cwd=Path(), env=os.environ, stdout=subprocess.DEVNULL)\n"
        "time.sleep(300)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    wait_until(lambda: len(processes_in(tmp_path)) >= 5, timeout_s=60, what="the family starts")
    parent.send_signal(number)
    parent.wait()
    assert_nobody_left(tmp_path)
