"""A user id without a name, as containers give one: in a user namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.environment import other_code
from tests.configs import ROOT

CODE = """
import getpass, sys
from pathlib import Path
try:
    getpass.getuser()
except KeyError:
    print("has no name", flush=True)
from pipelines import environment
environment.apply()
from pipelines.graph import dag
print(len(dag.read_graph(Path.cwd())), "stages")
import prefect
"""


def test_a_user_without_a_name_or_home_can_run_everything() -> None:
    nameless = {
        name: value for name, value in os.environ.items() if name not in {"HOME", "USER", "LOGNAME", "USERNAME"}
    }
    done = subprocess.run(
        ["unshare", "--user", "--map-user=54321", sys.executable, "-c", CODE],
        cwd=ROOT,
        env=nameless | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["has no name", "5 stages"]


def test_code_of_another_checkout_is_told_with_both_folders(tmp_path: Path) -> None:
    assert other_code(ROOT) is None
    assert other_code(tmp_path) is None
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    assert other_code(tmp_path) is None
    (tmp_path / "ganlib").mkdir()
    line = other_code(tmp_path)
    assert line is not None
    assert str(ROOT) in line
    assert str(tmp_path) in line
    assert "\n" not in line
