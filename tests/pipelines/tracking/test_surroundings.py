"""What git says of a project, as a run records it."""

import os
import subprocess
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines.data.placing import kept_in_git
from pipelines.tracking.runs import commit_of, surroundings, write_patch

pytestmark = pytest.mark.integration


def test_surroundings_without_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert "mlflow.source.git.commit" not in surroundings()


def test_surroundings_tell_commit_and_changes(project: Path, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    Path("a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    found = surroundings()
    assert found["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert found["mlflow.source.git.branch"] == "main"
    assert found["ganlib.git_dirty"] == "false"
    Path("reports").mkdir()
    written = [Path("dvc.lock"), Path("reports/metrics.json")]
    for each in written:
        each.write_text("1")
    git("add", "dvc.lock", "reports")
    git("commit", "-qm", "two")
    for each in written:
        each.write_text("2")
    assert surroundings()["ganlib.git_dirty"] == "false", "what runs write is no change of theirs"
    Path("a").write_text("2")
    Path("b").write_bytes(bytes(range(256)))
    git("add", "b")
    assert surroundings()["ganlib.git_dirty"] == "true"
    patch = tmp_path / "uncommitted.patch"
    write_patch(patch)
    git("reset", "-q", "--hard")
    git("apply", "--binary", str(patch))
    assert (Path("a").read_text(), Path("b").read_bytes()) == ("2", bytes(range(256)))
    assert Path("dvc.lock").read_text() == "1", "what runs write is no part of it"


def test_a_repository_of_another_user_is_told_with_gits_own_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Git itself is told to take the folder for another user's."""
    subprocess.run(["git", "init", "-q"], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert "mlflow.source.git.commit" not in surroundings()
    (line,) = caplog.messages
    assert f"run `git config --global --add safe.directory {project}`" in line
    assert "no commit is recorded" in line
    assert "\n" not in line
    assert commit_of(project) is None
    with pytest.raises(UserError, match="belongs to another user"):
        kept_in_git(project, Path("data/raw/digits.zip"))
