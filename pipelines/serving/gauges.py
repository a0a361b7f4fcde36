"""What Prometheus is told of a server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Gauges:
    """Counts of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("ganlib_requests", "Requests answered.", ["path", "status"], registry=self._registry)
        self._seconds = Histogram(
            "ganlib_request_seconds", "Time to answer.", ["path"], buckets=_SECONDS, registry=self._registry
        )
        self._batch = Histogram(
            "ganlib_batch_images", "Images drawn together.", buckets=_IMAGES, registry=self._registry
        )
        self._waiting = Gauge("ganlib_waiting_images", "Images that wait to be drawn.", registry=self._registry)
        self._swaps = Counter("ganlib_swaps", "Changes to another version.", ["outcome"], registry=self._registry)
        self._model = Gauge(
            "ganlib_model", "1 for the version that is served.", ["name", "version", "sha256"], registry=self._registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """One request; `path` is one of the server's own, or `other`."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def drawn(self, images: int) -> None:
        """A batch."""
        self._batch.observe(images)

    def swapped(self, succeeded: bool) -> None:
        """A try to serve another version."""
        self._swaps.labels("done" if succeeded else "failed").inc()

    def page(self, *, waiting_images: int, name: str, version: str, sha256: str) -> bytes:
        """All of it as Prometheus reads it."""
        self._waiting.set(waiting_images)
        self._model.clear()
        self._model.labels(name, version, sha256).set(1)
        return generate_latest(self._registry)
