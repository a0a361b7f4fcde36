"""Timed slots on a machine that others use too: who else was busy, and what can be trusted."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from benchmarks.contenders import Contender

QUIET_SHARE = 0.12  # of one core, that others may use in a clean slot
RETRIES = 3
LEAST_ITERATIONS = 1
# On a GPU libraries try their kernels first, and each kind of step of a lazy recipe becomes a graph after some of them.
WARM_UP_ITERATIONS = {"cpu": 1, "cuda": 40}
ClockName = Literal["wall", "cpu"]
# With one thread, the time that a process computes is what it would take on a machine of its own.
CLOCKS: dict[ClockName, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Slot:
    """One stretch of one contender; `others_share` is what other processes used, in cores."""

    contender: str
    round: int
    iterations: int
    seconds: float
    others_share: float

    @property
    def clean(self) -> bool:
        """Whether others kept out of it."""
        return self.others_share <= QUIET_SHARE

    @property
    def iteration_s(self) -> float:
        """Seconds an iteration."""
        return self.seconds / self.iterations


@dataclass(frozen=True)
class Spread:
    """A figure with its quartiles and extremes over rounds."""

    median: float
    lower: float
    upper: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        ordered = sorted(values)
        quarters = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
        return cls(quarters[1], quarters[0], quarters[2], ordered[0], ordered[-1], len(ordered))


class Load:
    """What processes other than this one do to the machine."""

    def __init__(self) -> None:
        self._busy, self._own, self._at = self._read()

    def others_share(self, helpers_s: float = 0.0) -> float:
        """Cores that others have used on average since this object was made, at least 0.

        `helpers_s` is the time that processes which belong to us have computed.
        """
        busy, own, now = self._read()
        return max(0.0, (busy - self._busy) - (own - self._own) - helpers_s) / max(now - self._at, 1e-9)

    @staticmethod
    def _read() -> tuple[float, float, float]:
        times = psutil.cpu_times()._asdict()
        # Guest time is counted in user time already.
        busy = sum(times.get(kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
        return busy, time.process_time(), time.monotonic()


def race(
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    slot_s: float,
    device: torch.device,
    clock: ClockName = "wall",
    seed: int = 0,
) -> list[Slot]:
    """Give each contender one slot a round, in random order; by the wall clock, a disturbed slot is held again."""
    lengths = {name: iterations_for(each, slot_s, device) for name, each in contenders.items()}
    order = random.Random(seed)
    slots = []
    for index in range(rounds):
        for name in order.sample(list(contenders), len(contenders)):
            for _ in range(1 + RETRIES):
                slot = _slot(name, contenders[name], index, lengths[name], device, clock)
                if slot.clean or clock == "cpu":
                    break
            slots.append(slot)
    return slots


def ratios(slots: Sequence[Slot], base: str) -> dict[str, Spread]:
    """How many times as fast as `base` each contender was, round by round.

    Rounds in which others disturbed either of the two count only where no other is left.
    """
    by_round: dict[int, dict[str, Slot]] = {}
    for slot in slots:
        by_round.setdefault(slot.round, {})[slot.contender] = slot
    names = {slot.contender for slot in slots} - {base}
    found = {}
    for name in sorted(names):
        pairs = [(each[base], each[name]) for each in by_round.values()]
        clean = [pair for pair in pairs if all(slot.clean for slot in pair)] or pairs
        found[name] = Spread.of([mine.iteration_s / other.iteration_s for mine, other in clean])
    return found


def paces(slots: Sequence[Slot]) -> dict[str, Spread]:
    """Seconds an iteration of each contender, from clean slots where there are any."""
    found = {}
    for name in sorted({slot.contender for slot in slots}):
        mine = [slot for slot in slots if slot.contender == name]
        found[name] = Spread.of(
            [slot.iteration_s for slot in mine if slot.clean] or [slot.iteration_s for slot in mine]
        )
    return found


def elapsed(action: Callable[[], None], device: torch.device, clock: ClockName = "wall") -> float:
    """Seconds that it takes, the device's work included; by the `cpu` clock those that this process computes."""
    now = CLOCKS[clock]
    _finish(device)
    start = now()
    action()
    _finish(device)
    return now() - start


def _slot(name: str, contender: Contender, index: int, iterations: int, device: torch.device, clock: ClockName) -> Slot:
    load = Load()
    seconds = elapsed(lambda: contender.run(iterations), device, clock)
    return Slot(name, index, iterations, seconds, load.others_share())


def iterations_for(contender: Contender, slot_s: float, device: torch.device) -> int:
    """How many iterations fill a slot; at least LEAST_ITERATIONS, after a warm-up."""
    contender.run(WARM_UP_ITERATIONS[device.type])
    once = elapsed(lambda: contender.run(LEAST_ITERATIONS), device) / LEAST_ITERATIONS
    return max(LEAST_ITERATIONS, round(slot_s / once))


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
