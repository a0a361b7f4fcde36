"""What a stage says where the machine gives out."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines.stages.shell import plain_errors, write_csv
from tests.full_disk import full_disk
from tests.ganlib.metrics.test_extractors import Cached


def test_a_disk_that_is_full_of_features_is_one_line(tmp_path: Path) -> None:
    told = r"^evaluate: a file could not be written, most likely because the disk is full; free space .*$"
    with full_disk(limit_bytes=500), pytest.raises(UserError, match=told), plain_errors("evaluate"):
        Cached(tmp_path / "features").features()
    assert list((tmp_path / "features").iterdir()) == []


KILLED = """
    import os, signal
    from pathlib import Path
    from pipelines.stages.shell import write_csv

    class Deadly:
        def __str__(self):
            os.kill(os.getpid(), signal.SIGKILL)

    write_csv(Path("reports/curves.csv"), [{"fid": 1.0}, {"fid": Deadly()}])
"""


def test_what_a_killed_stage_has_half_written_is_gone_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED)], cwd=tmp_path, env=surroundings(), check=False
    )
    assert done.returncode == -signal.SIGKILL
    monkeypatch.chdir(tmp_path)
    assert len(list(Path("reports").iterdir())) == 1
    write_csv(Path("reports/curves.csv"), [{"fid": 1.0}])
    assert list(Path("reports").iterdir()) == [Path("reports/curves.csv")]


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]), "OMP_NUM_THREADS": "1"}
