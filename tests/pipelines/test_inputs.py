"""What changes under a stage is told, and DVC does not record it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.environment import quiet_environment
from tests.configs import ROOT

STAGE = """
import pathlib, sys
from pipelines.stages.shell import run_stage

def work():
    read = pathlib.Path("params.yaml").read_text()
    exec(pathlib.Path("meanwhile.py").read_text())
    pathlib.Path("out.txt").write_text(read)

run_stage("work", work)
"""
WORK = {
    "cmd": "python stage.py",
    "deps": ["stage.py", "code", "data.bin"],
    "params": ["train", "seed"],
    "outs": ["out.txt"],
}
PARAMS = {"seed": 40, "train": {"rate": {"start": 1.0}, "flags": []}, "beside": 1}
SET = (
    "import yaml; p = pathlib.Path('params.yaml'); v = yaml.safe_load(p.read_text()); {change}; "
    "p.write_text(yaml.safe_dump(v))"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dvc.repo import Repo

    folder = tmp_path_factory.mktemp("project")
    (folder / "code").mkdir()
    (folder / "code/net.py").write_text("x = 1\n")
    (folder / "data.bin").write_bytes(bytes(1000))
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"work": WORK}}))
    Repo.init(str(folder), no_scm=True).close()
    return folder


def repro(project: Path, meanwhile: str) -> subprocess.CompletedProcess[str]:
    """With the parameters of the start, and code that runs while the stage does."""
    (project / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (project / "meanwhile.py").write_text(meanwhile)
    environment = os.environ | quiet_environment() | {"PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", "repro"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        (
            SET.format(change="v['seed'] = 41; v['train'] = {'rate': {'start': 2.0}, 'new': True}"),
            [
                "seed changed from 40 to 41",
                "train.rate.start changed from 1.0 to 2.0",
                "train.flags changed from [] to nothing",
            ],
        ),
        (
            "(pathlib.Path('code') / 'net.py').write_text('x = 2'); pathlib.Path('data.bin').unlink()",
            ["code changed", "data.bin changed"],
        ),
        ("pathlib.Path('params.yaml').write_text('seed: [')", ["params.yaml"]),
    ],
)
def test_a_change_under_a_stage_is_one_line_and_not_recorded(meanwhile: str, told: list[str], project: Path) -> None:
    done = repro(project, meanwhile)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert all(words in line for words in told)
    assert line.startswith("error: work: ")
    assert not (project / "dvc.lock").exists()
    (project / "code/net.py").write_text("x = 1\n")
    (project / "data.bin").write_bytes(bytes(1000))


def test_what_the_stage_does_not_depend_on_may_change(project: Path) -> None:
    meanwhile = "(pathlib.Path('code') / 'net.py').touch(); " + SET.format(change="v['beside'] = 2")
    done = repro(project, meanwhile)
    assert done.returncode == 0, done.stderr
    locked = yaml.safe_load((project / "dvc.lock").read_text())["stages"]["work"]
    assert locked["params"]["params.yaml"]["seed"] == 40
    (project / "dvc.lock").unlink()
