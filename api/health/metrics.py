"""Prometheus metrics of one application: requests as they come, stages by state from the database when asked."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from core.jobs.database import Database
from core.jobs.tables import Job, StageRun


class JobCollector(Collector):
    """Counts of jobs and stages, read from the database at each scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterable[Metric]:
        """See `Collector.collect`."""
        jobs = GaugeMetricFamily("likeness_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        stages = GaugeMetricFamily("likeness_stages", "Stages by queue and state.", labels=["queue", "state"])
        with self._database.read() as session:
            for kind, state, count in session.execute(
                select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
            ):
                jobs.add_metric([kind, state], count)
            for queue, state, count in session.execute(
                select(StageRun.queue, StageRun.state, func.count()).group_by(StageRun.queue, StageRun.state)
            ):
                stages.add_metric([queue, state], count)
        yield jobs
        yield stages


class Metrics:
    """The registry and what requests are counted in."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(JobCollector(database))
        self.requests = Counter(
            "likeness_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "likeness_http_request_seconds", "Time to the first byte.", ["method", "route"], registry=self.registry
        )
