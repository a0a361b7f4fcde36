"""A measurement in a process of its own, watched from outside with all its helpers: `/proc`, so Linux only."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import Load

ROOT = Path(__file__).resolve().parents[1]
# Looking at the processes costs milliseconds: seldom where time is measured, often where memory is.
TIMING_EVERY_S = 0.25
MEMORY_EVERY_S = 0.03


@dataclass(frozen=True)
class Memory:
    """Peaks in MiB of a process and of those it started.

    `all_mib` is what they held together, pages that several share counted
    once, `anonymous_mib` the part of it that is no file of the page cache:
    both as sampled. `first_mib` and `helper_mib` are exact: the most that the
    first process, and the largest of the others, had mapped in memory.
    """

    all_mib: float
    anonymous_mib: float
    first_mib: float
    helper_mib: float


@dataclass(frozen=True)
class Run:
    """What a child printed, the processor time of it and its helpers, what others used (in cores), and memory."""

    result: Any
    processor_s: float
    others_share: float
    memory: Memory | None


def run_child(
    task: dict[str, Any], *, memory: bool = False, worker: str = "benchmarks.ingest_worker", threads: int = 1
) -> Run:
    """Run a worker module on a task, on so many threads a process.

    Raises:
        CalledProcessError: it failed; its standard error went to ours.
    """
    what = [sys.executable, "-m", worker, json.dumps(task)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    load = Load()
    with subprocess.Popen(what, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as child:
        watch = _Watch(child.pid, memory=memory)
        watch.start()
        try:
            output, _ = child.communicate()
        finally:
            watch.stop()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, what)
    answer = json.loads(output.strip().splitlines()[-1])
    processor_s = watch.processor_s(answer["processor_s"])
    return Run(
        result=answer["result"],
        processor_s=processor_s,
        others_share=load.others_share(processor_s),
        memory=watch.peaks() if memory else None,
    )


class _Watch(threading.Thread):
    """Samples a process tree until it is stopped; what a helper did after its last sample is missing."""

    def __init__(self, pid: int, *, memory: bool) -> None:
        super().__init__(name="watch", daemon=True)
        self._pid, self._memory = pid, memory
        self._stopped = threading.Event()
        self._seconds: dict[int, float] = {}
        self._mapped: dict[int, int] = {}
        self._all = self._anonymous = 0

    def run(self) -> None:
        first = psutil.Process(self._pid)
        while True:
            with suppress(psutil.NoSuchProcess):
                self._sample([first, *first.children(recursive=True)])
            if self._stopped.wait(MEMORY_EVERY_S if self._memory else TIMING_EVERY_S):
                return

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def processor_s(self, first_s: float) -> float:
        """Of the whole tree; the first process knows its own."""
        return first_s + sum(seconds for pid, seconds in self._seconds.items() if pid != self._pid)

    def peaks(self) -> Memory:
        helpers = [kib for pid, kib in self._mapped.items() if pid != self._pid]
        return Memory(
            all_mib=self._all / 1024,
            anonymous_mib=self._anonymous / 1024,
            first_mib=self._mapped[self._pid] / 1024,
            helper_mib=max(helpers, default=0) / 1024,
        )

    def _sample(self, processes: list[psutil.Process]) -> None:
        everything = anonymous = 0
        for process in processes:
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                times = process.cpu_times()
                self._seconds[process.pid] = times.user + times.system
                if self._memory:
                    shares = _kib(process.pid, "smaps_rollup")
                    everything += shares.get("Pss", 0)
                    anonymous += shares.get("Pss_Anon", 0) + shares.get("Pss_Shmem", 0)
                    mapped = _kib(process.pid, "status").get("VmHWM", 0)
                    self._mapped[process.pid] = max(mapped, self._mapped.get(process.pid, 0))
        self._all = max(self._all, everything)
        self._anonymous = max(self._anonymous, anonymous)


def _kib(pid: int, what: str) -> dict[str, int]:
    """The lines of a file below `/proc` that end in kB."""
    lines = Path(f"/proc/{pid}/{what}").read_text(encoding="utf-8").splitlines()
    pairs = [line.split() for line in lines if line.endswith(" kB")]
    return {pair[0].rstrip(":"): int(pair[1]) for pair in pairs}
