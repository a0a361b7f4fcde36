import os
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.graph.locking import hold
from tests.toy_project import processes_in, wait_until

HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from pipelines.graph import supervisor
from pipelines.graph.locking import hold

with hold(Path("lock"), on_wait=print) as lock:
    child = ["sh", "-c", "trap '' TERM; touch child; while true; do sleep 0.1; done"]
    supervisor.start(child, cwd=Path(), env=os.environ, stdout=subprocess.DEVNULL, keep_open=[lock.descriptor])
    time.sleep(300)
"""


def test_nobody_waits_for_a_free_lock(tmp_path: Path) -> None:
    waited: list[str] = []
    for _ in range(2):
        with hold(tmp_path / "folder" / "lock", on_wait=waited.append):
            pass
    assert waited == []


def test_a_killed_holder_keeps_the_lock_until_its_child_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=tmp_path)
    wait_until((tmp_path / "child").exists, timeout_s=60, what="the holder's child starts")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert processes_in(tmp_path), "the child resists SIGTERM for the time of grace"
    waited: list[str] = []
    with hold(tmp_path / "lock", on_wait=waited.append):
        # The supervisor, whose end releases the lock, may still be on its way out.
        assert [process for process in processes_in(tmp_path) if "supervisor" not in " ".join(process.cmdline())] == []
    assert len(waited) == 1
    assert f"process {holder.pid} " in waited[0]
