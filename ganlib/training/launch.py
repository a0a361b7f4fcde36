"""Starting one process a device with PyTorch elastic, and telling in one line how they ended.

What a worker raises (a user's mistake, an interruption, an exit code), the
launching process raises in its turn, once. No worker outlives it.
"""

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Literal, NoReturn, TypeAlias

import torch
from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ganlib.errors import ProcessesFailed, TrainingInterrupted, UserError
from ganlib.training.distributed import RANK_VARIABLES, RankLost

LOST_RANK_GRACE_S = 2.0  # for the launching process to see who ended first
LAST_WORD_S = 1.0  # for the other nodes to read from the store, which one node keeps, that all are done
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOOPBACK = "127.0.0.1"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # by elastic
GO_ON = "the last checkpoint is kept, run again to go on"

Report: TypeAlias = tuple[int, BaseException]


def inside_worker() -> bool:
    """Whether this process is one of several, started by `launch`, by torchrun or by hand."""
    return set(RANK_VARIABLES) <= os.environ.keys()


def node_count() -> int:
    """The machines that take part: PET_NNODES, as torchrun reads it, or 1.

    Raises:
        UserError: a range of machines, or no number.
    """
    value = os.environ.get("PET_NNODES", "1")
    low, _, high = value.partition(":")
    if not low.isdigit() or int(low) < 1 or high not in ("", low):
        raise UserError(f"PET_NNODES={value}: expected one number of nodes; a training keeps those it starts with")
    return int(low)


def device_count(devices: int | Literal["auto"], device_type: str) -> int:
    """The processes to start on this machine, from `train.devices`, of which `check_devices` has seen enough.

    `auto` is every CUDA device, or one process on a CPU, which shares its cores by threads.
    """
    if devices == "auto":
        return torch.cuda.device_count() if device_type == "cuda" else 1
    return devices


def launch(entrypoint: Callable[..., None], *args: object, processes: int) -> None:
    """Run `entrypoint(*args)` in so many processes on this machine and wait until all have ended.

    Several machines meet through the variables that torchrun reads: PET_NNODES,
    PET_RDZV_BACKEND (`c10d` or `static`), PET_RDZV_ENDPOINT, PET_RDZV_ID,
    PET_RDZV_CONF, PET_LOCAL_ADDR, and for `static` PET_NODE_RANK, PET_MASTER_ADDR
    and PET_MASTER_PORT. Signals to stop are passed on to the workers, which have
    30 s (elastic's default) until they are killed. Call it from the main thread.

    Args:
        entrypoint: a function at the top level of a module, as it is imported anew in each process.
        args: picklable.
        processes: workers on this machine.

    Raises:
        UserError, TrainingInterrupted, KeyboardInterrupt: a worker raised it.
        SystemExit: a worker left with an exit code, or after the traceback of an error.
        ProcessesFailed: a worker died without a word, or the other machines cannot be reached.
    """
    nodes = node_count()
    reports: list[Report] = []
    reader, writer = multiprocessing.get_context("spawn").Pipe(duplex=False)
    try:
        with _handlers_restored(), _silenced("torch.distributed", "torch.multiprocessing"), reader, writer:
            try:
                with _meeting_place(nodes, processes) as config:
                    elastic_launch(config, _work)(os.getpid(), writer, entrypoint, args)
            finally:
                reports.extend(_received(reader))
    except (ChildFailedError, SignalException, RendezvousError, DistError) as error:
        raise _verdict(error, reports, nodes * processes) from None


def _work(launcher: int, reports: "Connection[Report, Report]", entrypoint: Callable[..., None], args: Any) -> None:
    """What a worker does: the entry point, and a report to the launching process when that does not end well."""
    _end_with(launcher)
    os.setsid()  # a signal to the process group reaches the launching process alone, which passes it on: it comes once
    rank = int(os.environ["RANK"])
    if os.environ["MASTER_ADDR"] == LOOPBACK:  # gloo listens where the host's name leads, else
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")

    def leave(error: BaseException) -> NoReturn:
        reports.send((rank, error))
        sys.exit(1)

    try:
        entrypoint(*args)
    except SystemExit as error:
        if error.code:
            reports.send((rank, SystemExit(error.code if isinstance(error.code, int) else 1)))
        raise
    except (UserError, TrainingInterrupted, KeyboardInterrupt) as error:
        leave(error)
    except RankLost as error:
        # The rank that ended first is the one to tell of: once seen, it has the others ended.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(LOST_RANK_GRACE_S)
        leave(error)
    except Exception:
        traceback.print_exc()
        leave(SystemExit(1))


def _end_with(launcher: int) -> None:
    """Be killed when the launching process dies, by whatever means."""
    if sys.platform == "linux":
        if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError("prctl(PR_SET_PDEATHSIG) was refused")
    else:
        threading.Thread(target=_kill_after_parent, daemon=True).start()
    if os.getppid() != launcher:  # it died before
        os._exit(1)


def _kill_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _meeting_place(nodes: int, processes: int) -> Iterator[LaunchConfig]:
    """Where the ranks find each other. On one machine nobody else can reach it."""
    if nodes > 1:
        yield _config(processes, nodes, **_between_nodes())
        time.sleep(LAST_WORD_S)
        return
    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    # Left to itself, a store listens on every interface. Elastic finds this one by its port.
    store = TCPStore(
        LOOPBACK, port, is_master=True, wait_for_workers=False, multi_tenant=True, master_listen_fd=listener.detach()
    )
    yield _config(processes, nodes, rdzv_backend="static", rdzv_endpoint=f"{LOOPBACK}:{port}", rdzv_configs={"rank": 0})
    del store


def _config(processes: int, nodes: int, **rendezvous: Any) -> LaunchConfig:
    settings = {"run_id": "train", "local_addr": LOOPBACK, **rendezvous}
    return LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        max_restarts=0,
        start_method="spawn",
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        **settings,
    )


def _between_nodes() -> dict[str, Any]:
    """The rendezvous of several machines, from torchrun's variables and with its defaults.

    Raises:
        UserError: one that is needed is not set.
    """
    variables = os.environ
    backend = variables.get("PET_RDZV_BACKEND", "static")
    configs: dict[str, Any] = dict(
        pair.split("=", 1) for pair in variables.get("PET_RDZV_CONF", "").split(",") if "=" in pair
    )
    endpoint = variables.get("PET_RDZV_ENDPOINT", "")
    needed = ["PET_RDZV_ENDPOINT"]
    if backend == "static":
        needed = ["PET_NODE_RANK"] if endpoint else ["PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"]
    missing = [name for name in needed if not variables.get(name)]
    if missing:
        raise UserError(
            f"{missing[0]}: not set, though PET_NNODES={variables['PET_NNODES']} names several nodes "
            f"and PET_RDZV_BACKEND is {backend}; set it as for torchrun"
        )
    if backend == "static":
        configs["rank"] = int(variables["PET_NODE_RANK"])
        endpoint = endpoint or f"{variables['PET_MASTER_ADDR']}:{variables['PET_MASTER_PORT']}"
    return {
        "run_id": variables.get("PET_RDZV_ID", "none"),
        "rdzv_backend": backend,
        "rdzv_endpoint": endpoint,
        "rdzv_configs": configs,
        "local_addr": variables.get("PET_LOCAL_ADDR"),
    }


def _received(reader: "Connection[Report, Report]") -> Iterator[Report]:
    while reader.poll():
        yield reader.recv()


def _verdict(error: Exception, reports: Sequence[Report], size: int) -> BaseException:
    """What to raise: what a worker said, the gravest first; else what is seen from outside."""
    for kind in (UserError, TrainingInterrupted, KeyboardInterrupt, SystemExit):
        for _, reported in reports:
            if isinstance(reported, kind):
                return reported
    match error:
        case SignalException():
            stopped: int = error.sigval
            return KeyboardInterrupt() if stopped == signal.SIGINT else SystemExit(128 + stopped)
        case ChildFailedError():
            rank, failure = error.get_first_failure()
            return ProcessesFailed(f"rank {rank} of {size} {_end(failure, reports)}; {GO_ON}")
        case _:
            line = str(error).splitlines()[0]
            return ProcessesFailed(f"the other nodes cannot be reached ({type(error).__name__}: {line}); {GO_ON}")


def _end(failure: ProcessFailure, reports: Sequence[Report]) -> str:
    if failure.exitcode < 0:
        guess = ", perhaps by the system for want of memory" if failure.exitcode == -signal.SIGKILL else ""
        return f"was killed by signal {-failure.exitcode} ({failure.signal_name()}){guess}"
    if reports:
        return f"lost another one: {reports[0][1]}"
    return f"ended with exit code {failure.exitcode}"


@contextlib.contextmanager
def _handlers_restored() -> Iterator[None]:
    """Elastic sets handlers of its own for the signals that it passes on, and leaves them."""
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _silenced(*names: str) -> Iterator[None]:
    """Nothing from these loggers: what the user needs of it is in the one line."""
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    try:
        yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
