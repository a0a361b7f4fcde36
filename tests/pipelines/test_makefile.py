"""What `make` does to a folder, with a Python that only notes what it is asked: a real one would need a network."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.toy_project import REPOSITORY

# Says what it is asked; `-m venv` leaves a copy of itself as the environment's Python.
PYTHON = """#!/bin/sh
echo "$*" >> asked
case "$*" in *venv*) mkdir -p .venv/bin; cp python-of-the-system .venv/bin/python;; esac
"""
UV = """#!/bin/sh
echo "uv $*" >> asked
case "$*" in venv*) mkdir -p .venv/bin; cp python-of-the-system .venv/bin/python;; esac
"""
BROKEN = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    write_program(tmp_path / "python-of-the-system", PYTHON)
    return tmp_path


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def make(folder: Path, *arguments: str, uv: str = "") -> None:
    command = ["make", "PYTHON=./python-of-the-system", f"UV={uv}", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_clean_keeps_what_belongs_to_the_runs(folder: Path) -> None:
    make(folder, "clean")
    kept = ("data/raw/a.png", "models/generator/weights", "mlflow.db", "mlruns/0/x", ".ganlib/spool/1-2/ops.jsonl")
    removed = (".venv/bin/python", ".ganlib/features/x", ".ganlib/pipeline.lock", "pipelines/__pycache__/x.pyc")
    for name in (*kept, *removed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    make(folder, "clean")
    assert [name for name in (*kept, *removed) if (folder / name).exists()] == list(kept)
    assert [path.name for path in (folder / ".ganlib").iterdir()] == ["spool"]


@pytest.mark.parametrize("half_made", [None, BROKEN])
def test_an_environment_without_pip_is_made_again(half_made: str | None, folder: Path) -> None:
    if half_made is not None:
        write_program(folder / ".venv/bin/python", half_made)
    make(folder, ".venv/.installed")
    assert [line for line in (folder / "asked").read_text().splitlines() if "venv" in line] == ["-m venv --clear .venv"]
    (folder / ".venv/.installed").unlink()
    make(folder, ".venv/.installed")
    asked = (folder / "asked").read_text().splitlines()
    assert len([line for line in asked if "venv" in line]) == 1, "a whole one is kept"
    assert len([line for line in asked if "pip install" in line]) == 2


@pytest.mark.parametrize("half_made", [None, BROKEN])
def test_uv_installs_where_it_is_found(half_made: str | None, folder: Path) -> None:
    write_program(folder / "uv", UV)
    if half_made is not None:
        write_program(folder / ".venv/bin/python", half_made)
    make(folder, ".venv/.installed", uv="./uv")
    (folder / ".venv/.installed").unlink()
    make(folder, ".venv/.installed", uv="./uv")
    asked = (folder / "asked").read_text().splitlines()
    assert not any("-m pip" in line or "-m venv" in line for line in asked)
    assert len([line for line in asked if line.startswith("uv venv")]) == 1, "a whole one is kept"
    assert len([line for line in asked if line.startswith("uv pip install")]) == 2
    assert all("--constraint constraints.txt" in line for line in asked if "pip install" in line)


def test_one_installation_serves_the_tests_and_the_runs(folder: Path) -> None:
    make(folder, ".venv/.installed-check")
    make(folder, ".venv/.installed-check")
    make(folder, ".venv/.installed")
    (installation,) = [line for line in (folder / "asked").read_text().splitlines() if "pip install" in line]
    assert installation.endswith("--editable .[check]")
