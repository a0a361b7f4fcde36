"""Alarms strike in time, leave others alone, and end a process that does not answer."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from ganlib.datasets.cleaning.deadlines import Deadline, DeadlinePassed


def alarms() -> tuple[object, float]:
    """The handler and the processor time; the clock may be that of a limit on the test."""
    return signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_PROF)[0]


def sleep_whatever_happens() -> None:
    while True:
        try:
            time.sleep(10)
        except Exception:
            continue


def test_it_strikes_even_where_exceptions_are_caught() -> None:
    before = alarms()
    started = time.monotonic()
    with pytest.raises(DeadlinePassed), Deadline(0.05, hard=False):
        sleep_whatever_happens()
    assert 0.05 <= time.monotonic() - started < 2
    assert alarms() == before


def test_work_in_time_leaves_no_trace() -> None:
    before = alarms()
    for _ in range(100):
        with Deadline(0.01, hard=False):
            pass
    time.sleep(0.03)
    assert alarms() == before
    with pytest.raises(KeyError), Deadline(0.01, hard=False):
        raise KeyError
    time.sleep(0.03)


def test_an_alarm_set_before_still_comes() -> None:
    struck: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda number, _: struck.append(number))
    others = signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with Deadline(5, hard=False):
            time.sleep(0.01)
        assert not struck
        time.sleep(0.1)
        assert struck == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *others)


def test_outside_of_the_main_thread_nothing_happens() -> None:
    finished: list[bool] = []

    def work() -> None:
        with Deadline(0.01, hard=True):
            time.sleep(0.05)
        finished.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert finished == [True]


# One call of compiled code that takes minutes and looks at no signals.
STUCK = """
import hashlib, time
from ganlib.datasets.cleaning.deadlines import Deadline, DeadlinePassed

with Deadline(0.1, hard=True):
    pass
time.sleep(0.15)
try:
    with Deadline(0.1, hard=True):
        time.sleep(10)
except DeadlinePassed:
    print("passed", flush=True)
with Deadline(0.2, hard=True):
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000_000)
"""


def test_compiled_code_that_does_not_return_ends_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], timeout=60, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGPROF, b"passed\n", b"")
