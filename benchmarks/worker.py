"""One measurement in a process of its own: `python -m benchmarks.worker TASK`, its result as JSON on the last line.

Peak memory, OpenMP's settings and the compiler's cache belong to a process, so
each measurement that depends on them gets a fresh one.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks import contenders
from benchmarks.contenders import Contender, Setting, contender
from benchmarks.measuring import ClockName, Spread, elapsed, iterations_for, paces, race, ratios
from ganlib.training import iteration, learner, moment
from ganlib.training.feeding import SplitFeed
from ganlib.training.gan import step
from ganlib.training.learner import Learner
from ganlib.training.state import TrainState

MEMORY_ITERATIONS = 3
SHARE_ITERATIONS = 20
# What an iteration does beside the networks' arithmetic, by where it is looked up.
BOOKKEEPING = {
    "data": (SplitFeed, "choose"),
    "images to floats": (SplitFeed, "load"),
    "random draws": (step, "draw_inputs"),
    "EMA": (iteration, "update_ema"),
    "gradient norms": (learner, "get_total_norm"),
    "figures": (TrainState, "add_figures"),
    "log points": (contenders, "take_mean_figures"),
    "schedules": (moment, "value_at"),
    "freezing": (Learner, "freeze"),
    "unfreezing": (Learner, "unfreeze"),
}


def hold_race(
    setting: Setting, names: list[str], bases: list[str], rounds: int, slot_s: float, clock: ClockName = "wall"
) -> dict[str, Any]:
    """Race contenders; those that cannot run are reported with their reason, and nothing is compared with them."""
    device = torch.device(setting.device)
    ready, failures, start_s = {}, {}, {}
    for name in names:
        try:
            runner = contender(name, setting)
            start_s[name] = elapsed(partial(runner.run, 1), device)
        except Exception as error:  # a finding: not all switches work with all networks
            failures[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        else:
            ready[name] = runner
    slots = race(ready, rounds=rounds, slot_s=slot_s, device=device, clock=clock)
    return {
        "batch_size": setting.batch_size,
        "iteration_s": {name: asdict(pace) for name, pace in paces(slots).items()},
        "times_as_fast_as": {
            base: {name: asdict(ratio) for name, ratio in ratios(slots, base).items()}
            for base in bases
            if base in ready
        },
        "start_s": start_s,
        "failures": failures,
        "disturbed_slots": sum(not slot.clean for slot in slots),
        "slots": len(slots),
    }


def peak_memory(setting: Setting, name: str) -> dict[str, float]:
    """Peak of the process, and how much of it came after the imports, in MiB; on a GPU what tensors took."""
    before = _resident_mib()
    contender(name, setting).run(MEMORY_ITERATIONS)
    if setting.device.startswith("cuda"):
        return {"peak_mib": torch.cuda.max_memory_allocated() / 2**20, "added_mib": 0.0}
    return {"peak_mib": _resident_mib(), "added_mib": _resident_mib() - before}


def outside_shares(setting: Setting, iterations: int = SHARE_ITERATIONS) -> dict[str, float]:
    """Shares of our iteration's time, timed inside it, that are not the networks' arithmetic; `Python` is the rest.

    On a device that works by itself these are only what the host spends.
    """
    ours = contender("ours", setting)
    device = torch.device(setting.device)
    ours.run(2)
    spent = dict.fromkeys([*BOOKKEEPING, "steps"], 0.0)
    with ExitStack() as stack:
        for what, (place, name) in BOOKKEEPING.items():
            stack.enter_context(patch.object(place, name, _timed(getattr(place, name), what, spent)))
        for name in ("critic_step", "generator_step"):
            stack.enter_context(patch.object(step, name, _timed(getattr(step, name), "steps", spent)))
        whole = elapsed(partial(ours.run, iterations), device)
    inside = sum(spent[each] for each in ("gradient norms", "freezing", "unfreezing"))
    steps = spent.pop("steps")
    beside = sum(spent.values()) - inside
    shares = {what: seconds / whole for what, seconds in spent.items()}
    return {**shares, "Python": (whole - steps - beside) / whole, "whole": (whole - steps + inside) / whole}


def contention(settings: list[Setting], rounds: int, slot_s: float) -> dict[str, Any]:
    """Seconds of our iteration alone and beside one process that is always busy, in turns."""
    found = {}
    for setting in settings:
        device = torch.device(setting.device)
        ours = contender("ours", setting)
        count = iterations_for(ours, slot_s, device)
        turn = partial(elapsed, partial(ours.run, count), device)
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(turn() / count)
            with _busy_process():
                beside.append(turn() / count)
        slower = Spread.of([late / early for early, late in zip(alone, beside, strict=True)])
        found[setting.family] = {
            "alone_s": asdict(Spread.of(alone)), "beside_s": asdict(Spread.of(beside)), "slower": asdict(slower),
        }  # fmt: skip
    return found


def operations(setting: Setting, name: str) -> float:
    """Floating-point operations of one iteration, a multiplication and an addition counting as two."""
    return flops_of(contender(name, setting))


def flops_of(runner: Contender) -> float:
    """Of one iteration."""
    runner.run(1)
    with _Flops() as counter:  # type: ignore[no-untyped-call]
        runner.run(1)
    return float(counter.total)


class _Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """PyTorch's formulas, without its `FlopCounterMode`, whose tracking of modules refuses a second differentiation."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=results)
        return results


@contextmanager
def _busy_process() -> Iterator[None]:
    """One process that computes without end."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            time.sleep(0.3)  # until its interpreter has started
            yield
        finally:
            busy.kill()


def _timed(function: Callable[..., Any], what: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[what] += time.perf_counter() - start

    return timed


def _resident_mib() -> float:
    """The most memory that the process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def perform(task: dict[str, Any]) -> Any:
    """One measurement, described by the name of a function here and its arguments."""
    settings = [_setting(values) for values in task["settings"]]
    match task["measure"]:
        case "race":
            return hold_race(
                settings[0], task["contenders"], task["bases"], task["rounds"], task["slot_s"], task["clock"]
            )
        case "memory":
            return peak_memory(settings[0], task["contender"])
        case "shares":
            return outside_shares(settings[0])
        case "contention":
            return contention(settings, task["rounds"], task["slot_s"])
        case "operations":
            return operations(settings[0], task["contender"])
        case _:
            raise ValueError(f"{task['measure']}: no such measurement")


def _setting(values: dict[str, Any]) -> Setting:
    return Setting(**{**values, "images": Path(values["images"]), "packed": Path(values["packed"])})


if __name__ == "__main__":
    print(json.dumps(perform(json.loads(sys.argv[1]))))
