"""A worker's own Prometheus metrics, on a port of the worker: what the database has of it, and its main process."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from core.errors import UsageError
from core.jobs.database import Database
from core.settings import Settings
from core.telemetry.collectors import WorkerCollector


class _OwnConnection(Collector):
    """Opens the database for each scrape: a connection that stayed open would be carried over the pool's forks."""

    def __init__(self, url: str, owner_prefix: str) -> None:
        self._url = url
        self._owner_prefix = owner_prefix

    def collect(self) -> Iterable[Metric]:
        database = Database(self._url)
        try:
            yield from WorkerCollector(database, self._owner_prefix).collect()
        finally:
            database.close()

    def describe(self) -> Iterable[Metric]:
        """Names nothing, so that registering does not ask the database."""
        return []


def serve_metrics(settings: Settings, name: str) -> None:
    """Answer scrapes from a thread, for as long as this process lives.

    Raises:
        UsageError: `port_in_use`.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_OwnConnection(settings.database, f"{name}:"))
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise UsageError("port_in_use", f"Can't listen on {where}.", "Set LIKENESS_METRICS_PORT, or 0.") from error
