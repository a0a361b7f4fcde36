"""What `gan repeat` refuses before anything is trained."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ganlib.errors import UserError
from pipelines.repeating.repeat import repeat
from tests.toy_project import REPOSITORY, ToyProject, make_project

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    made = make_project(tmp_path_factory.mktemp("repeating") / "project", no_scm=False)
    shutil.copytree(REPOSITORY / "presets", made.root / "presets")
    return made


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": 1}, "--seeds 1: expected 2 or more"),
        ({"overrides": ["train.seed=3"]}, "-S train.seed: is what --seeds changes"),
        ({"overrides": ["train.sed=3"]}, "-S train.sed=3: expected NAME=VALUE"),
        ({"overrides": ["train.batch_size=red"]}, "params.yaml: train.batch_size: found 'red'"),
        ({"presets": ["digits", "nothing"]}, "preset nothing: unknown"),
        ({"presets": ["digits", "digits"]}, "names a preset twice"),
        ({"presets": ["digits", "cifar10-dcgan"]}, "digits and cifar10-dcgan differ in data.source"),
        ({"output": Path("page.html")}, "--output page.html: a Markdown file is written"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(project: ToyProject, changes: dict[str, Any], told: str) -> None:
    wanted = {"seeds": 2, "presets": [], "overrides": [], "parallel": 1, "output": Path("repetition.md"), **changes}
    with pytest.raises(UserError, match=told) as caught:
        repeat(project.root, say=print, **wanted)
    assert "\n" not in str(caught.value)
    branches = subprocess.check_output(["git", "branch", "--list", "runs/*"], cwd=project.root, text=True)
    assert branches == ""
    assert not (project.root / ".ganlib").exists()


class Planned(Exception):
    """The trainings would begin now."""


def test_recipes_of_other_networks_and_objectives_are_measured_alike(project: ToyProject) -> None:
    """Also where only one has a critic, whose choice among samples is then measured of that one alone."""

    def say(line: str) -> None:
        assert line == "4 trainings, 0 of them made before; 1 at a time"
        raise Planned

    with pytest.raises(Planned):
        repeat(
            project.root,
            seeds=2,
            presets=["digits", "digits-vae"],
            overrides=[],
            parallel=1,
            output=Path("repetition.md"),
            say=say,
        )


def test_without_git_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_project(tmp_path / "project")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(UserError, match="no git repository"):
        repeat(made.root, seeds=2, presets=[], overrides=[], parallel=1, output=tmp_path / "a.md", say=print)
