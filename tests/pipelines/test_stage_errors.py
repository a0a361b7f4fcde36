"""What a stage says where the machine gives out."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

FULL = """
    import resource, signal
    import numpy as np
    from pathlib import Path
    from pipelines.stages.shell import run_stage
    from tests.ganlib.metrics.test_extractors import Cached

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
        Cached(Path("features")).features()

    run_stage("evaluate", write)
"""


def test_a_disk_that_is_full_of_features_is_one_line(tmp_path: Path) -> None:
    """A limit of the size of files stands for it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: evaluate: a file could not be written, most likely because the disk is full")
    assert list((tmp_path / "features").iterdir()) == []
