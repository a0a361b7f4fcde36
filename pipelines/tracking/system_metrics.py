"""How busy the machine is during a training, logged through the journal as everything else."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

EVERY_S = 10.0
_log = logging.getLogger(__name__)


class Log(Protocol):
    """Where the figures go."""

    def metrics(self, values: Mapping[str, float], seen_images: int) -> None:
        """Figures, at a sample's number: MLflow shows them over time."""
        ...


@contextmanager
def logged_system_metrics(log: Log, *, wanted: bool, every_s: float = EVERY_S) -> Iterator[None]:
    """CPU, memory and, on CUDA with NVIDIA's library, GPU, as `system/…`, at once and every few seconds."""
    if not wanted:
        yield
        return
    monitors, ended = _monitors(), threading.Event()

    def sample() -> None:
        number = 0
        while not ended.is_set():
            for monitor in monitors:
                monitor.collect_metrics()
                found = monitor.aggregate_metrics()
                log.metrics({f"system/{name}": value for name, value in found.items()}, number)
                monitor.clear_metrics()
            number += 1
            ended.wait(every_s)

    thread = threading.Thread(target=sample, name="system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _monitors() -> "list[BaseMetricsMonitor]":
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors: list[BaseMetricsMonitor] = [CPUMonitor()]
    try:
        monitors.append(GPUMonitor())
    except (ImportError, RuntimeError) as error:
        _log.info("tracking: no figures of a GPU (%s)", error)
    return monitors
