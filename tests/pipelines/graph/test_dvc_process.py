import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines.graph import dag, locking
from pipelines.graph.dvc_process import DvcProcess
from tests.toy_project import STAGES, ToyProject, make_project, wait_until

# DVC's own, in a library it uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    return make_project(tmp_path / "project")


@contextmanager
def at_work(project: ToyProject, *, timeout_s: float = 60) -> Iterator[DvcProcess]:
    with (
        locking.hold_pipeline(project.root, on_wait=print) as lock,
        DvcProcess(project.root, lock=lock, timeout_s=timeout_s) as dvc,
    ):
        yield dvc
    assert not project.processes()


def test_it_tells_what_dvc_tells_here(project: ToyProject) -> None:
    with at_work(project) as dvc:
        assert dvc.status(say=print) == dag.read_status(project.root, on_wait=print, timeout_s=60)
    with at_work(project) as dvc:
        list(dvc.reproduce([], {}))
        assert dvc.command.exit_code == 0
    with at_work(project) as dvc:
        assert dvc.status(say=print)[1] == {}
        project.change_data("other")
        dvc.read_again()
        assert set(dvc.status(say=print)[1]) == {"preprocess"}


def test_stages_inherit_the_environment_and_nothing_else(project: ToyProject) -> None:
    project.behave("preprocess", "import os; print('open', sorted(os.listdir('/proc/self/fd')), os.environ['EXTRA'])")
    with at_work(project) as dvc:
        lines = list(dvc.reproduce(["preprocess"], {"EXTRA": "yes"}))
    # The three of any process, and the one that lists them.
    assert "open ['0', '1', '2', '3'] yes" in lines


def test_mistakes_and_long_waits_are_told_as_by_dvc_here(project: ToyProject) -> None:
    with dag.repository(project.root) as repo, repo.lock, at_work(project, timeout_s=1) as dvc:
        said: list[str] = []
        with pytest.raises(dag.StageHeldUp, match=f"process {os.getpid()} .* did not finish in time"):
            dvc.status(say=said.append)
        assert [line for line in said if "to finish: it holds DVC's lock" in line]
    (project.root / "dvc.yaml").write_text("stages: [")
    with at_work(project) as dvc, pytest.raises(UserError, match=r"dvc\.yaml"):
        dvc.status(say=print)


def test_its_death_is_told(project: ToyProject) -> None:
    with at_work(project) as dvc:
        dvc.status(say=print)
        (child,) = [each for each in project.processes() if "pipelines.graph.dvc_process" in each.cmdline()[3:4]]
        child.send_signal(signal.SIGKILL)
        wait_until(lambda: not project.processes(), timeout_s=30, what="supervisor and process are gone")
        dvc.read_again()
        with pytest.raises(RuntimeError, match="ended with exit code 137"):
            dvc.status(say=print)
        assert list(dvc.reproduce(list(STAGES), {})) == []


@pytest.mark.parametrize("orders", ["", '"status"\n'])
def test_it_ends_when_nothing_more_is_ordered(project: ToyProject, orders: str) -> None:
    from pipelines.graph import dvc_process

    reader, writer = os.pipe()
    os.write(writer, orders.encode())
    os.close(writer)
    assert dvc_process.main(project.root, 60, reader) == 0
