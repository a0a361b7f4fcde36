import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ganlib.errors import ProcessesFailed, UserError
from ganlib.training.launch import device_count, inside_worker, launch, node_count
from tests.ganlib.training.rank_programs import kill_rank_1, shout

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[3]
START_S = 120.0  # to import torch on a busy machine
PROGRAM = "tests.ganlib.training.rank_programs"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command at the root of the project, without what a launch of ours left in the environment."""
    processes: list[subprocess.Popen[str]] = []

    def run(*command: str, **variables: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PET_", "TORCHELASTIC_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=clean | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_dead_rank_ends_the_run_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    expected = (
        r"^rank 1 of 2 was killed by signal 9 \(SIGKILL\), perhaps by the system for want of memory; "
        "the last checkpoint is kept, run again to go on$"
    )
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(ProcessesFailed, match=expected):
        launch(kill_rank_1, tmp_path, processes=2)
    assert time.time() - float((tmp_path / "died").read_text()) < 15
    assert capfd.readouterr() == ("", "")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_error_in_a_worker_shows_its_traceback_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        launch(shout, "${local_rank}", processes=1)
    assert left.value.code == 1
    _, told = capfd.readouterr()
    assert told.count("Traceback") == 1
    assert told.endswith("ZeroDivisionError: ${local_rank} is handed over as it is\n")


def test_sigterm_reaches_the_workers_once_and_their_exit_comes_back(tmp_path: Path, start: Start) -> None:
    launcher = start(PROGRAM, "train_for_ever", str(tmp_path), "2")
    pids = _worker_pids(tmp_path)
    os.killpg(launcher.pid, signal.SIGTERM)
    assert launcher.communicate(timeout=START_S) == ("", "")
    assert launcher.returncode == 75
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_killed_launcher_leaves_no_worker(tmp_path: Path, start: Start) -> None:
    launcher = start(PROGRAM, "train_for_ever", str(tmp_path), "2")
    workers = [psutil.Process(pid) for pid in _worker_pids(tmp_path)]
    listening = [each for worker in workers for each in worker.net_connections() if each.status == psutil.CONN_LISTEN]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
    launcher.kill()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


def test_started_by_torchrun(tmp_path: Path, start: Start) -> None:
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
    process = start(*torchrun, "-m", PROGRAM, "greet", str(tmp_path), "7", OMP_NUM_THREADS="1")
    assert process.wait(START_S) == 0, process.communicate()
    assert _greetings(tmp_path) == ["2 3", "2 3"]


def test_two_nodes_meet_through_the_variables_of_torchrun(tmp_path: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    variables = {"PET_NNODES": "2", "PET_RDZV_BACKEND": "static", "PET_RDZV_ENDPOINT": endpoint}
    # On a busy machine the node that ends last warns that the other's store has gone.
    variables["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    nodes = [start(PROGRAM, "greet", str(tmp_path), "1", PET_NODE_RANK=rank, **variables) for rank in "01"]
    for node in nodes:
        assert node.communicate(timeout=START_S) == ("", "")
    assert _greetings(tmp_path) == ["2 3", "2 3"]


def test_a_cpu_has_one_process_unless_it_is_asked_for_more() -> None:
    assert device_count("auto", "cpu") == 1
    assert device_count(2, "cpu") == 2


@pytest.mark.parametrize("value", ["1:4", "0", "many"])
def test_nodes_are_one_number(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_NNODES", value)
    with pytest.raises(UserError, match=f"^PET_NNODES={value}: expected one number of nodes"):
        node_count()


@pytest.mark.parametrize(("backend", "missing"), [("c10d", "PET_RDZV_ENDPOINT"), ("static", "PET_NODE_RANK")])
def test_nodes_without_a_place_to_meet_are_refused(
    backend: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PET_NNODES", "2")
    monkeypatch.setenv("PET_RDZV_BACKEND", backend)
    with pytest.raises(UserError, match=f"^{missing}: not set, though PET_NNODES=2"):
        launch(kill_rank_1, tmp_path, processes=1)


def test_this_is_no_worker() -> None:
    assert not inside_worker()
    assert node_count() == 1


def _worker_pids(folder: Path) -> list[int]:
    files = [folder / f"pid-{rank}" for rank in range(2)]
    deadline = time.monotonic() + START_S
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline, "the workers have not started"
        time.sleep(0.05)
    return [int(file.read_text()) for file in files]


def _greetings(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("greeting-*"))]
