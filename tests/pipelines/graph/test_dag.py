import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from ganlib.errors import UserError
from pipelines.graph import dag, locking, repro
from pipelines.graph.dvc_process import DvcProcess
from pipelines.graph.plan import plan
from tests.toy_project import INPUTS, REPOSITORY, SLEEP_WITH_CHILD, STAGES, ToyProject, make_project, wait_until

# DVC's own, in a library it uses.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    return make_project(tmp_path / "project")


def run_stage(
    project: ToyProject, name: str, *, timeout_s: float | None = None, force: bool = False
) -> tuple[dag.StageOutcome, list[str]]:
    lines: list[str] = []
    with locking.hold_pipeline(project.root, on_wait=lines.append) as lock:
        env = {"EXTRA": "yes"}
        with (
            DvcProcess(project.root, lock=lock, timeout_s=60) as dvc,
            repro.StageByStage(dvc, [name], force=force, env=env) as stages,
        ):
            outcome = stages.wait_for(name, on_line=lines.append, timeout_s=timeout_s)
    return outcome, lines


def run_graph(project: ToyProject, *, force: bool = False) -> dict[str, str]:
    outcomes = repro.run_graph(project.root, on_line=lambda _line: None, force=force)
    return {outcome.name: outcome.status for outcome in outcomes}


def why_changed(project: ToyProject) -> Mapping[str, tuple[str, ...]]:
    return dag.read_status(project.root, on_wait=lambda _line: None, timeout_s=60)[1]


def changed_stages(project: ToyProject) -> set[str]:
    return set(why_changed(project))


def test_the_graph_is_that_of_dvc_yaml(project: ToyProject) -> None:
    graph = dag.read_graph(project.root)
    made_by = {f"{name}.txt": name for name in STAGES}
    for stage in graph:
        assert stage.deps == INPUTS[stage.name]
        assert stage.outs == (f"{stage.name}.txt",)
        assert set(stage.upstream) == {made_by[file] for file in INPUTS[stage.name] if file in made_by}
        assert stage.command == f"python stage.py {stage.name} {' '.join(stage.deps)} {stage.name}.txt"
        assert stage.description == f"The {stage.name} stage"
    places = {stage.name: number for number, stage in enumerate(graph)}
    assert sorted(places) == sorted(STAGES)
    assert all(places[other] < places[stage.name] for stage in graph for other in stage.upstream)


def test_the_projects_own_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    graph = dag.read_graph(REPOSITORY)
    written = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert [stage.name for stage in graph] == list(written)
    assert [stage.command for stage in graph] == [entry["cmd"] for entry in written.values()]


def test_dvc_reads_its_files_once(project: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes most of the time of a run with nothing to do."""
    from dvc.dvcfile import ProjectFile

    read: list[str] = []
    load = ProjectFile._load
    monkeypatch.setattr(ProjectFile, "_load", lambda self: (read.append(self.path), load(self))[1])
    graph, changed = dag.read_status(project.root, on_wait=print, timeout_s=60)
    assert set(changed) == {stage.name for stage in graph} == set(STAGES)
    assert [Path(file).name for file in read] == ["dvc.yaml"]


def test_the_folder_in_which_we_are_does_not_matter(project: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dag.read_graph(project.root), changed_stages(project)
    monkeypatch.chdir(project.root / "data")
    assert (dag.read_graph(project.root), changed_stages(project)) == before


def test_data_that_dvc_tracks_for_themselves_are_no_stage(project: ToyProject) -> None:
    before = dag.read_graph(project.root)
    subprocess.run(
        [sys.executable, "-m", "dvc", "add", "data/raw/digits.zip"], cwd=project.root, check=True, capture_output=True
    )
    assert (project.root / "data/raw/digits.zip.dvc").exists()
    assert dag.read_graph(project.root) == before
    assert changed_stages(project) == set(STAGES)
    outcomes = run_graph(project)
    assert {name: outcomes[name] for name in STAGES} == dict.fromkeys(STAGES, "ran")
    assert changed_stages(project) == set()
    project.change_data("other")
    assert changed_stages(project) == {"preprocess"}
    assert run_stage(project, "preprocess")[0].status == "ran"


def test_mistakes_are_one_line(project: ToyProject, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a DVC project"):
        dag.read_graph(tmp_path)
    for text in ("stages: [", "stages: {a: {outs: [b]}}", "stages: {a: {cmd: x, deps: [b], outs: [b]}}"):
        (project.root / "dvc.yaml").write_text(text)
        with pytest.raises(UserError) as caught:
            dag.read_graph(project.root)
        assert "\n" not in str(caught.value)
        assert "dvc.yaml" in str(caught.value)


def test_a_stage_runs_rests_and_comes_from_the_cache(project: ToyProject) -> None:
    project.behave("preprocess", "import os; print(os.environ['EXTRA'], sys.executable)")
    outcome, lines = run_stage(project, "preprocess")
    assert outcome.status == "ran"
    assert "preprocess works" in lines
    assert f"yes {sys.executable}" in lines, "the stages' python is the one that runs this"
    assert not [line for line in lines if not line or "git add" in line]
    assert run_stage(project, "preprocess")[0].status == "unchanged"
    project.change_data("other")
    assert run_stage(project, "preprocess")[0].status == "ran"
    project.change_data("raw")
    assert run_stage(project, "preprocess")[0].status == "cached"
    assert run_stage(project, "preprocess", force=True)[0].status == "ran"


def test_a_failure_gives_the_stages_own_exit_code_and_last_words(project: ToyProject) -> None:
    project.behave("preprocess", "print('one'); sys.exit('last words')")
    with pytest.raises(dag.StageFailed) as caught:
        run_stage(project, "preprocess")
    assert (caught.value.name, caught.value.exit_code, caught.value.user_error) == ("preprocess", 1, False)
    assert str(caught.value) == "stage preprocess failed with exit code 1: last words"
    assert "one" in caught.value.last_lines


def test_a_users_mistake_is_told_apart(project: ToyProject) -> None:
    project.behave("preprocess", "print('error: data.source: empty'); sys.exit(2)")
    with pytest.raises(dag.StageFailed) as caught:
        run_stage(project, "preprocess")
    assert caught.value.user_error
    assert str(caught.value) == "stage preprocess: data.source: empty"


def test_what_dvc_refuses_is_told_in_dvcs_words(project: ToyProject) -> None:
    with pytest.raises(dag.StageFailed, match=r"stage extractor: .*preprocess\.txt"):
        run_stage(project, "extractor")


def test_a_silent_stage_is_ended_in_time(project: ToyProject) -> None:
    project.behave("preprocess", SLEEP_WITH_CHILD)
    with pytest.raises(dag.StageTimedOut, match=r"longer than 3 s \(flow\.timeout_s\.preprocess\)"):
        run_stage(project, "preprocess", timeout_s=3)
    assert project.processes() == []


def test_the_whole_graph(project: ToyProject) -> None:
    assert why_changed(project) == dict.fromkeys(STAGES, ("it has not run yet",))
    assert run_graph(project) == dict.fromkeys(STAGES, "ran")
    assert changed_stages(project) == set()
    assert run_graph(project) == dict.fromkeys(STAGES, "unchanged")
    project.change_data("other")
    (project.root / "train.txt").unlink()
    params = project.root / "params.yaml"
    before = params.read_text()
    params.write_text(re.sub(r"(?m)^(train:(?:\n .*)*\n  seed: )0$", r"\g<1>7", before))
    changed = why_changed(project)
    assert changed == {
        "preprocess": ("data/raw/digits.zip changed",),
        "train": ("train.seed changed from 0 to 7", "train.txt is not here"),
        "evaluate": ("train.txt is missing",),
        "register": ("train.txt is missing",),
    }
    foreseen = {
        each.stage.name: each for each in plan(project.root, dag.read_graph(project.root), changed, force=False)
    }
    assert foreseen["extractor"].intent == "runs if its inputs change"
    assert foreseen["extractor"].why == ("after preprocess",)
    assert {each.intent for name, each in foreseen.items() if name != "extractor"} == {"runs"}
    assert all(each.last_s is not None and 0 < each.last_s < 60 for each in foreseen.values())
    # preprocess runs and, for this toy, makes another output: all that follows runs.
    assert run_graph(project) == dict.fromkeys(STAGES, "ran")
    project.change_data("raw")
    params.write_text(before)
    assert run_graph(project) == dict.fromkeys(STAGES, "cached")


def test_a_failure_in_the_graph_names_its_stage(project: ToyProject) -> None:
    project.behave("train", "sys.exit(7)")
    heard: list[dag.StageOutcome] = []
    with pytest.raises(dag.StageFailed) as caught:
        repro.run_graph(project.root, on_line=lambda _line: None, on_outcome=heard.append)
    assert (caught.value.name, caught.value.exit_code) == ("train", 7)
    assert [outcome.name for outcome in heard] == ["preprocess", "extractor"]


def test_a_second_driver_waits_and_says_for_whom(project: ToyProject) -> None:
    lines: list[str] = []
    with locking.hold_pipeline(project.root, on_wait=lines.append):
        second = threading.Thread(target=repro.run_graph, args=(project.root,), kwargs={"on_line": lines.append})
        second.start()
        wait_until(lambda: lines, timeout_s=60, what="the second driver says that it waits")
        assert lines[0].startswith(f"waiting for process {os.getpid()} ")
        assert not (project.root / "dvc.lock").exists()
    second.join(timeout=240)
    assert (project.root / "register.txt").exists()


def dvc(project: ToyProject, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project.root,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
    )


def test_a_dvc_started_by_hand_is_waited_for(project: ToyProject) -> None:
    project.behave("preprocess", "while not pathlib.Path('waited').exists(): time.sleep(0.1)")
    by_hand = dvc(project, "repro", "preprocess")
    try:
        wait_until(lambda: len(project.processes()) >= 2, timeout_s=120, what="the other stage starts")
        threading.Thread(target=by_hand.wait).start()  # as a shell does; DVC takes a dead child for alive until then

        def hear(line: str) -> None:
            if line.startswith(f"waiting for process {by_hand.pid} ("):
                (project.root / "waited").touch()

        outcomes = repro.run_graph(project.root, on_line=hear)
    finally:
        (project.root / "waited").touch()
        by_hand.wait(timeout=240)
    assert [outcome.name for outcome in outcomes] == [stage.name for stage in dag.read_graph(project.root)]


@pytest.mark.parametrize("left", ["", '{"write": {"/a": {"pi', '{"write": {"/a": 3}}'])
def test_what_a_killed_dvc_has_half_written_stops_no_later_run(left: str, project: ToyProject) -> None:
    record = project.root / ".dvc/tmp/rwlock"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(left)
    assert changed_stages(project) == set(STAGES)
    record.write_text(left)
    assert run_stage(project, "preprocess", timeout_s=60)[0].status == "ran"


def test_what_a_killed_dvc_held_is_held_no_more(project: ToyProject) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, alive = {"pid": child.pid, "cmd": "dvc repro"}, {"pid": os.getpid(), "cmd": "dvc pull"}
    record = project.root / ".dvc/tmp/rwlock"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"write": {"/a": dead, "/b": alive}, "read": {"/c": [dead], "/d": [dead, alive]}}))
    dag.read_status(project.root, on_wait=print, timeout_s=60)
    assert json.loads(record.read_text()) == {"write": {"/b": alive}, "read": {"/d": [alive]}}


@pytest.mark.thorough
def test_a_command_that_holds_dvcs_lock_is_waited_for(project: ToyProject) -> None:
    """As `dvc push` to a slow store does, before a stage and while it runs."""
    from dvc.lock import Lock

    holder = Lock(str(project.root / ".dvc/tmp/lock"))
    lines: list[str] = []
    with holder:
        with pytest.raises(dag.StageHeldUp, match=rf"process {os.getpid()} .*holds DVC's lock") as caught:
            dag.read_status(project.root, on_wait=lines.append, timeout_s=1)
        assert not caught.value.user_error
        threading.Timer(8, holder.unlock).start()
        assert set(dag.read_status(project.root, on_wait=lines.append, timeout_s=60)[1]) == set(STAGES)
        assert any(f"waiting for process {os.getpid()} (" in line for line in lines)
        holder.lock()
    project.behave("preprocess", "pathlib.Path('at_work').touch(); time.sleep(2)")
    results: list[dag.StageOutcome] = []
    stage = threading.Thread(target=lambda: results.append(run_stage(project, "preprocess", timeout_s=300)[0]))
    stage.start()
    wait_until((project.root / "at_work").exists, timeout_s=120, what="the stage is at work")
    with holder:
        stage.join(timeout=8)
        assert stage.is_alive()
    stage.join(timeout=240)
    assert [outcome.status for outcome in results] == ["ran"]
