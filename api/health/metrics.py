"""Prometheus metrics of one application: requests as they come, the platform's from the database when asked."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from core.jobs.database import Database
from core.telemetry.collectors import PlatformCollector


class Metrics:
    """The registry and what requests are counted in."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(PlatformCollector(database))
        self.requests = Counter(
            "likeness_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "likeness_http_request_seconds", "Time to the first byte.", ["method", "route"], registry=self.registry
        )
