import platform
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from ganlib.training.memory import keep_freed_memory
torch.set_num_threads(1)
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):  # aligned pieces creep through the heap before they lie where earlier ones lay
    torch.ones(2**24)
begun = faults()
for _ in range(10):
    torch.ones(2**24)
print(faults() - begun)
"""


def page_faults(before: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(before=before)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's thresholds")
def test_tensors_take_over_the_memory_of_earlier_ones() -> None:
    assert page_faults("keep_freed_memory()") * 20 < page_faults("")
