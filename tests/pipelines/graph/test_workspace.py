"""Isolated runs on a toy project: what is in them, what comes back, and that the checkout stays as it is."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganlib.errors import UserError
from pipelines import paths
from pipelines.git import act
from pipelines.graph import dag, snapshot, worktree
from pipelines.graph.workspace import Request, Workspace, adopt, default_name, finished_with, give_up, isolated
from tests.full_disk import full_disk
from tests.toy_project import STAGES, ToyProject, commit_all, make_project

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToyProject:
    """A clone: everything is committed, nothing has run."""
    made = make_project(tmp_path / "project", no_scm=False)
    monkeypatch.chdir(made.root)
    return made


def git(project: ToyProject, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return act(*identity, *arguments, project=project.root, doing="test")


def content(root: Path) -> dict[str, str]:
    """Of every file of the checkout, git's index included; not the objects and branches that git adds."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in {".git", ".ganlib", "cache", "tmp"}]
        for name in names:
            file = Path(folder, name)
            found[str(file.relative_to(root))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found | {"index": hashlib.sha256((root / ".git/index").read_bytes()).hexdigest()}


def reproduce(place: Workspace) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=place.project, check=True)


def run(project: ToyProject, request: Request) -> tuple[str, list[str]]:
    """The name of a finished run, and what was said."""
    said: list[str] = []
    with isolated(project.root, request, say=said.append) as place:
        reproduce(place)
    return place.name, said


def test_a_run_takes_uncommitted_changes_leaves_the_checkout_and_is_adopted(project: ToyProject) -> None:
    project.change_data("edited")
    (project.root / "notes.txt").write_text("mine")
    git(project, "add", "dvc.yaml")
    before, head = content(project.root), git(project, "rev-parse", "HEAD")
    name, said = run(project, Request(overrides=("train.seed=4",)))
    assert content(project.root) == before
    assert git(project, "rev-parse", "HEAD") == head
    assert "with the uncommitted changes of data/raw/digits.zip, with train.seed=4, without the files that" in said[0]
    assert "git does not know: notes.txt" in said[0]
    assert said[-1] == f"run {name}: its outcome is on the branch runs/{name}; `gan adopt {name}` brings it here"
    assert not [path for path in (project.root / paths.RUNS).iterdir() if path.is_dir()]
    assert git(project, "worktree", "list").count("\n") == 0
    branch = f"runs/{name}"
    assert yaml.safe_load(git(project, "show", f"{branch}:params.yaml"))["train"]["seed"] == 4
    assert git(project, "show", f"{branch}:data/raw/digits.zip") == "edited"
    assert set(yaml.safe_load(git(project, "show", f"{branch}:dvc.lock"))["stages"]) == set(STAGES)

    told: list[str] = []
    adopt(project.root, name, say=told.append)
    assert (project.root / "train.txt").read_text() == "editedpreprocesseditedpreprocessextractortrain"
    assert not dag.read_status(project.root, on_wait=print, timeout_s=10)[1]
    assert "other code" not in told[-1]


def test_what_failed_is_kept_and_goes_on_and_the_same_again_finds_all_done(project: ToyProject) -> None:
    request = Request(ref="HEAD")
    with pytest.raises(RuntimeError), isolated(project.root, request, say=print) as place:
        raise RuntimeError
    (place.root / "half-done").touch()
    with pytest.raises(UserError, match="not finished"):
        adopt(project.root, place.name, say=print)
    with isolated(project.root, request, say=print):
        assert (place.root / "half-done").exists()
        reproduce(place)
    assert not place.root.exists()
    tip = git(project, "rev-parse", place.branch)
    with isolated(project.root, request, say=print) as again:
        assert not dag.read_status(again.project, on_wait=print, timeout_s=10)[1]
    assert git(project, "rev-parse", place.branch) == tip


def test_old_failures_go_and_a_mistake_leaves_nothing(project: ToyProject) -> None:
    names = [f"failed-{number}" for number in range(5)]
    for number, name in enumerate(names):
        request = Request(overrides=(f"train.seed={number}",), name=name)
        with pytest.raises(RuntimeError), isolated(project.root, request, say=print):
            raise RuntimeError
        os.utime(project.root / paths.RUNS / f"{name}.lock", (2e9 + number, 2e9 + number))
    with pytest.raises(UserError, match="boom"), isolated(project.root, Request(name="mistake"), say=print):
        raise UserError("boom")
    left = {path.name for path in (project.root / paths.RUNS).iterdir() if path.is_dir()}
    assert left == set(names[-3:])
    branches = git(project, "branch", "--list", "runs/*", "--format=%(refname:short)").splitlines()
    assert branches == [f"runs/{name}" for name in names[-3:]]


def test_a_full_disk_is_one_line_and_leaves_nothing(project: ToyProject) -> None:
    request = Request(ref="HEAD")
    with (
        full_disk(limit_bytes=20_000),  # enough for git's files, and not for DVC's database of them
        pytest.raises(UserError, match=r"its worktree cannot be made \(.+\); [0-9.]+ MiB are free on") as caught,
        isolated(project.root, request, say=print),
    ):
        raise AssertionError("not reached")
    assert "\n" not in str(caught.value)
    assert not [each for each in (project.root / paths.RUNS).iterdir() if each.is_dir()]
    assert git(project, "branch", "--list", "runs/*") == ""
    assert git(project, "worktree", "list").count("\n") == 0
    # As `gan reproduce` makes it.
    root = project.root / paths.OWN_SCRATCH / "reproductions/digits-1"
    with full_disk(limit_bytes=20_000), pytest.raises(UserError, match=r"^digits, version 1: its worktree cannot"):
        worktree.add(project.root, root, root, ("--detach", "--", str(root), "HEAD"), doing="digits, version 1")
    assert not root.exists()
    with isolated(project.root, request, say=print) as place:
        assert (place.project / "dvc.yaml").exists()


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (Request(ref="nowhere"), "--ref nowhere: no such commit"),
        (Request(overrides=("train.sed=1",)), "-S train.sed=1: .*sed"),
        (Request(overrides=("train.seed=red",)), r"params\.yaml: train\.seed"),
        (Request(name="../x"), "--name ../x"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(project: ToyProject, request_: Request, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught, isolated(project.root, request_, say=print):
        raise AssertionError("not reached")
    assert "\n" not in str(caught.value)
    assert git(project, "branch", "--list", "runs/*") == ""


def test_data_outside_git_and_dvc_are_read_where_they_lie(project: ToyProject) -> None:
    (project.root / "data/raw/mine").mkdir()
    (project.root / "data/raw/mine/a.txt").write_text("a")
    (project.root / "notes.txt").write_text("not in the run")
    request = Request(overrides=("data.source=data/raw/mine",))
    said: list[str] = []
    with isolated(project.root, request, say=said.append) as place:
        assert (place.project / "data/raw/mine/a.txt").read_text() == "a"
        assert act("status", "--porcelain", "--untracked-files=no", project=place.project, doing="test") == ""
    assert any("data.source=data/raw/mine is in neither git nor DVC" in line for line in said)
    assert said[0].endswith("without the files that git does not know: notes.txt"), "the data are in the run"
    known = snapshot.take(project.root, ref=None, overrides=("data.source=data/raw",)).told
    assert known.endswith("data/raw/mine/a.txt, notes.txt"), "git keeps this folder, and a run has what git has of it"
    assert (project.root / "data/raw/mine/a.txt").exists()


def test_data_that_dvc_knows_come_from_the_cache_or_the_remote_or_are_missed_in_one_line(project: ToyProject) -> None:
    (project.root / "data/raw/photos").mkdir()
    (project.root / "data/raw/photos/a.txt").write_text("a")
    for command in (("remote", "add", "-d", "near", "../store"), ("add", "data/raw/photos"), ("push",)):
        subprocess.run([sys.executable, "-m", "dvc", "-q", *command], cwd=project.root, check=True)
    commit_all(project)
    shutil.rmtree(project.root / "data/raw/photos")
    request = Request(overrides=("data.source=data/raw/photos",))
    with isolated(project.root, request, say=print) as place:
        assert (place.project / "data/raw/photos/a.txt").read_text() == "a"
    shutil.rmtree(project.root / ".dvc/cache")
    said: list[str] = []
    with isolated(project.root, request, say=said.append) as place:
        assert (place.project / "data/raw/photos/a.txt").read_text() == "a"
    assert any("fetching data/raw/photos" in line for line in said)
    for folder in (project.root / ".dvc/cache", project.root.parent / "store"):
        shutil.rmtree(folder)
    missing = pytest.raises(UserError, match=r"data\.source=data/raw/photos: neither in DVC's cache nor")
    with missing as caught, isolated(project.root, request, say=print):
        raise AssertionError("not reached")
    assert "\n" not in str(caught.value)


def test_adopting_loses_nothing_that_is_not_committed(project: ToyProject) -> None:
    name, _ = run(project, Request(overrides=("train.seed=4",)))
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("seed: 0", "seed: 9"))
    before = content(project.root)
    with pytest.raises(UserError, match=r"not committed here: params\.yaml"):
        adopt(project.root, name, say=print)
    with pytest.raises(UserError, match=f"the runs: {name}"):
        adopt(project.root, "other", say=print)
    assert content(project.root) == before


def test_a_report_that_the_run_does_not_have_is_no_obstacle_to_adopting(project: ToyProject) -> None:
    name, _ = run(project, Request(overrides=("train.seed=4",)))
    mine = project.root / paths.REPETITION
    mine.parent.mkdir()
    mine.write_text("mine")
    adopt(project.root, name, say=print)
    assert mine.read_text() == "mine"
    assert (project.root / "train.txt").exists()


def test_a_commit_of_the_checkout_with_other_parameters(project: ToyProject) -> None:
    project.change_data("edited")
    base = snapshot.take(project.root, ref=None, overrides=())
    project.change_data("later")
    other = (project.root / "params.yaml").read_text().replace("seed: 0", "seed: 7")
    taken = snapshot.take(project.root, ref=base.commit, overrides=("train.batch_size=32",), parameters=other)
    assert (taken.config.train.seed, taken.config.train.batch_size) == (7, 32)
    assert git(project, "show", f"{taken.commit}:data/raw/digits.zip") == "edited"
    assert "without the files of the checkout that are not committed: data/raw/digits.zip" in taken.told
    name = default_name(taken)
    assert finished_with(project.root, name, taken.tree, paths.PARAMS) is None
    with isolated(project.root, Request(ref=taken.commit, name=name), say=print):
        pass
    found = finished_with(project.root, name, taken.tree, paths.PARAMS)
    assert found is not None
    assert yaml.safe_load(found)["train"]["batch_size"] == 32
    assert finished_with(project.root, name, base.tree, paths.PARAMS) is None


def test_what_is_given_up_leaves_nothing_and_an_outcome_stays(project: ToyProject) -> None:
    request = Request(ref="HEAD", name="one")
    with pytest.raises(RuntimeError), isolated(project.root, request, say=print) as place:
        raise RuntimeError
    give_up(project.root, "one")
    assert not place.root.exists()
    assert git(project, "branch", "--list", "runs/*") == ""
    run(project, request)
    give_up(project.root, "one")
    assert git(project, "branch", "--list", "runs/*", "--format=%(refname:short)") == "runs/one"


def test_without_git_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_project(tmp_path / "project")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(made.root)
    with pytest.raises(UserError, match="no git repository"), isolated(made.root, Request(), say=print):
        raise AssertionError("not reached")


def test_code_in_a_worktree_finds_the_store_of_its_project(tmp_path: Path) -> None:
    folder = tmp_path / paths.RUNS / "a" / "sub"
    folder.mkdir(parents=True)
    code = (
        "from pipelines import paths; from pipelines.tracking.store import store_uri; "
        "print(store_uri(), paths.SPOOL, paths.PIPELINE_LOCK)"
    )
    root = Path(__file__).parents[3]
    for uri, file in (("", "mlflow.db"), ("sqlite:///team.db", "team.db")):
        environment = {**os.environ, "DVC_ROOT": str(folder), "PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": uri}
        told = subprocess.check_output(["python", "-c", code], cwd=folder, env=environment, text=True).split()
        assert told == [f"sqlite:///{tmp_path}/{file}", f"{tmp_path}/.ganlib/spool", ".ganlib/pipeline.lock"]
