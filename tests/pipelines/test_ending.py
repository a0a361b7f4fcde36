import subprocess
import sys

import pytest


@pytest.mark.parametrize("imported", ["json", "torch._dynamo"])
@pytest.mark.parametrize("frozen", ["", "gc.freeze()"])
def test_a_process_ends_without_a_word(imported: str, frozen: str) -> None:
    code = f"import gc, pipelines, {imported}; {frozen}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout + done.stderr == ""


def test_a_process_ends_without_a_search_for_garbage() -> None:
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(len(gc.get_objects())))\n"
        "import pipelines\n"
        "kept = [[] for _ in range(100_000)]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 1000
