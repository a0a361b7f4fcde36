"""Work spread over processes: order, errors, and workers that die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ganlib.datasets.packing.process_executor import ProcessExecutor
from ganlib.errors import UserError


@dataclass(frozen=True)
class Errand:
    number: int
    deadly: bool = False
    mistaken: bool = False


def squared(errand: Errand) -> int:
    if errand.deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    if errand.mistaken:
        raise UserError(f"number {errand.number}")
    time.sleep(0.01 * (errand.number % 3))
    return errand.number**2


def harmless(errand: Errand) -> Errand:
    return Errand(errand.number)


def unexpected(errand: Errand) -> Errand:
    raise AssertionError(errand)


def test_results_come_in_order_and_tasks_are_taken_as_needed() -> None:
    taken = 0

    def errands() -> Iterator[Errand]:
        nonlocal taken
        for number in range(30):
            taken += 1
            yield Errand(number)

    with ProcessExecutor(2) as executor:
        results = executor.map(squared, errands(), after_death=unexpected)
        assert next(results) == 0
        assert taken < 10
        assert list(results) == [number**2 for number in range(1, 30)]


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_that_kill_are_replaced_and_take_nothing_with_them(workers: int) -> None:
    errands = [Errand(number, deadly=number in (0, 3, 4, 11)) for number in range(12)]
    with ProcessExecutor(workers) as executor:
        results = list(executor.map(squared, errands, after_death=harmless))
    assert results == [number**2 for number in range(12)]


def test_the_first_mistake_in_order_ends_the_work() -> None:
    errands = [Errand(number, mistaken=number in (5, 7)) for number in range(12)]
    with ProcessExecutor(2) as executor, pytest.raises(UserError, match="number 5"):
        list(executor.map(squared, errands, after_death=unexpected))


SLOW = """
import sys, time
from ganlib.datasets.packing.process_executor import ProcessExecutor

if __name__ == "__main__":
    with ProcessExecutor(2) as executor:
        for _ in executor.map(time.sleep, [0.0, 0.0, 600.0, 600.0], after_death=lambda task: task):
            print("under way", flush=True)
"""


def test_workers_leave_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "under way\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 3  # the fork server, its tracker of resources, two workers
        parent.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
