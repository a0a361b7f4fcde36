"""The project itself in a new folder, with the default recipe scaled down: what a user has after a clone."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.environment import quiet_environment
from tests.configs import ROOT, tiny_values

STAGES = ("preprocess", "extractor", "train", "evaluate", "register")
SMALL: dict[str, Any] = {
    "train.total_images": 640,
    "train.measure_every_images": 320,
    "train.checkpoint_every_images": 80,
}


@dataclass(frozen=True)
class Project:
    """A git repository with the project in it."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """No server, no telemetry, this interpreter first, one thread: tests share the machine."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_", "GANLIB_"))}
        return {
            **inherited,
            **quiet_environment(),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    def run(self, *command: str, timeout_s: int = 600, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            umask=0o002,  # as of people who share a folder
        )

    def gan(self, *arguments: str, timeout_s: int = 600, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "pipelines.cli", *arguments, timeout_s=timeout_s, **variables)

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        done = self.run("git", *identity, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def set_params(self, changes: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(tiny_values(SMALL | dict(changes)), sort_keys=False)
        (self.root / "params.yaml").write_text(text, encoding="utf-8")

    def generator_hash(self) -> str:
        from ganlib.packaging import generator_sha256

        return generator_sha256(self.root / "models" / "generator")


def make_project(root: Path) -> Project:
    """Everything that git would clone, committed, with small parameters."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file() and not name.startswith(("tests/", "dvc.lock")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, root / name)
    project = Project(root)
    project.set_params({})
    for path in root.rglob("*"):  # as a clone under the umask of `Project.run`
        path.chmod(path.stat().st_mode | stat.S_IWGRP)
    project.git("init", "-q")
    project.git("add", "-A")
    project.git("commit", "-qm", "start")
    return project


def make_finished_project(root: Path) -> Project:
    """One whose pipeline has run."""
    made = make_project(root)
    done = made.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == dict.fromkeys(STAGES, "ran")
    assert "Gate: " in done.stdout
    assert "domain/fid" in done.stdout
    return made


def outcomes(output: str) -> dict[str, str]:
    """Stage -> ran, cached or unchanged, from what `gan repro` passes on of DVC's words."""
    found = {}
    for line in output.splitlines():
        for words, status in (("Running stage '", "ran"), ("is cached", "cached"), ("didn't change", "unchanged")):
            if line.startswith(("Running stage '", "Stage '")) and words in line:
                found[line.split("'")[1]] = status
    return found
