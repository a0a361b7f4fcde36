import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.graph import dag, locking
from pipelines.graph.dvc_process import DvcProcess
from pipelines.graph.repro import StageByStage
from tests.toy_project import STAGES, ToyProject, make_project, wait_until


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    return make_project(tmp_path / "project")


@contextmanager
def stages_of(project: ToyProject) -> Iterator[StageByStage]:
    with (
        locking.hold_pipeline(project.root, on_wait=print) as lock,
        DvcProcess(project.root, lock=lock, timeout_s=60) as dvc,
        StageByStage(dvc, STAGES, force=False, env={}) as stages,
    ):
        yield stages


def test_one_process_runs_the_stages_and_begins_again_at_the_one_that_failed(project: ToyProject) -> None:
    # DVC has a session of its own, in which its stages are; some shells stay between the two.
    note = "import os; print('session', os.getsid(0))"
    for name in ("preprocess", "extractor", "train", "evaluate"):
        project.behave(name, note)
    project.behave("extractor", f"{note}; print(pathlib.Path('mended').exists() or sys.exit('broken'))")
    lines: dict[str, list[str]] = {name: [] for name in STAGES}

    def wait_for(name: str) -> dag.StageOutcome:
        return stages.wait_for(name, on_line=lines[name].append, timeout_s=60)

    with stages_of(project) as stages:
        assert wait_for("preprocess").status == "ran"
        with pytest.raises(dag.StageFailed, match="stage extractor failed with exit code 1: broken"):
            wait_for("extractor")
        assert not project.processes()
        (project.root / "mended").touch()
        # DVC goes on while nobody listens.
        assert wait_for("extractor").status == "ran"
        wait_until((project.root / "register.txt").exists, timeout_s=60, what="the last stage has run")
        assert [wait_for(name).status for name in ("train", "evaluate", "register")] == ["ran"] * 3
    # Each stage's lines are its own, and one DVC ran all that came after the failure.
    assert [line for line in lines["preprocess"] if "works" in line] == ["preprocess works"]
    sessions = {
        name: next(line for line in reversed(said) if "session" in line)
        for name, said in lines.items()
        if any("session" in line for line in said)
    }
    assert sessions["extractor"] == sessions["train"] == sessions["evaluate"] != sessions["preprocess"]
    assert [line for line in lines["train"] if line.endswith(" works")] == ["train works"]


def test_each_stage_has_its_own_time(project: ToyProject) -> None:
    project.behave("preprocess", "time.sleep(1)")
    project.behave("extractor", "time.sleep(60)")
    with stages_of(project) as stages:
        assert stages.wait_for("preprocess", on_line=print, timeout_s=60).status == "ran"
        begun = time.monotonic()
        with pytest.raises(dag.StageTimedOut, match=r"longer than 1 s \(flow\.timeout_s\.extractor\)"):
            stages.wait_for("extractor", on_line=print, timeout_s=1)
        assert time.monotonic() - begun < 30
        assert not project.processes()


def test_nothing_outlives_the_context(project: ToyProject) -> None:
    project.behave("extractor", "pathlib.Path('at_work').touch(); time.sleep(60)")
    with stages_of(project) as stages:
        stages.wait_for("preprocess", on_line=print, timeout_s=60)
        wait_until((project.root / "at_work").exists, timeout_s=60, what="the next stage is at work")
    assert not project.processes()


def test_what_has_begun_can_begin_again(project: ToyProject) -> None:
    project.behave("preprocess", "pathlib.Path('at_work').open('a').write('x'); time.sleep(300)")
    with stages_of(project) as stages:
        wait_until((project.root / "at_work").exists, timeout_s=60, what="the first stage is at work")
        stages.begin_again()
        assert not project.processes()
        project.behave_well()
        assert [stages.wait_for(name, on_line=print, timeout_s=60).status for name in STAGES] == ["ran"] * len(STAGES)
