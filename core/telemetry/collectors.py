"""Prometheus metrics that are read from the database when they are asked for (`statistics.py` has the queries)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from core.jobs.database import Database
from core.telemetry import statistics
from core.telemetry.statistics import BUCKETS_S, Times

KEEP_TIMES_SECONDS = 15.0
"""The times of all attempts are counted at most this often: the one query whose cost grows with the platform's age."""


class PlatformCollector(Collector):
    """The whole platform: jobs, queues, attempts, outbox, webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._times: list[Times] = []
        self._counted_at: float | None = None

    def collect(self) -> Iterable[Metric]:
        """See `Collector.collect`."""
        with self._database.read() as session:
            yield _labelled(
                "likeness_jobs", "Jobs by kind and state.", ["kind", "state"], statistics.jobs_by_state(session)
            )
            stages = statistics.stages_by_state(session)
            yield _labelled("likeness_stages", "Stages by queue and state.", ["queue", "state"], stages)
            oldest = statistics.oldest_queued_s(session).items()
            yield _labelled(
                "likeness_queue_oldest_seconds", "How long a queue's oldest stage has waited.", ["queue"], oldest
            )
            yield GaugeMetricFamily(
                "likeness_dead_letters",
                "Failed jobs whose workers died each time, not retried.",
                value=statistics.dead_letters(session),
            )
            unsent, lag = statistics.outbox_lag(session)
            yield GaugeMetricFamily("likeness_outbox_unsent", "Messages that wait for the relay.", value=unsent)
            yield GaugeMetricFamily("likeness_outbox_lag_seconds", "Age of the oldest unsent message.", value=lag)
            deliveries = statistics.deliveries_by_state(session).items()
            yield _labelled("likeness_webhook_deliveries", "Webhook deliveries by state.", ["state"], deliveries)
            yield _histogram("likeness_stage_seconds", "Time of attempts at a stage.", self._attempt_times(session))

    def describe(self) -> Iterable[Metric]:
        """Names nothing, so that registering does not ask the database."""
        return []

    def _attempt_times(self, session: Session) -> list[Times]:
        with self._lock:
            now = time.monotonic()
            if self._counted_at is None or now - self._counted_at > KEEP_TIMES_SECONDS:
                self._times, self._counted_at = statistics.attempt_times(session), now
            return self._times


class WorkerCollector(Collector):
    """One worker: what the database has of the processes whose name begins with its own."""

    def __init__(self, database: Database, owner_prefix: str) -> None:
        self._database = database
        self._owner_prefix = owner_prefix

    def collect(self) -> Iterable[Metric]:
        """See `Collector.collect`."""
        with self._database.read() as session:
            yield GaugeMetricFamily(
                "likeness_worker_running",
                "Stages that this worker runs now.",
                value=statistics.running_now(session, self._owner_prefix),
            )
            times = statistics.attempt_times(session, self._owner_prefix)
        yield _histogram("likeness_worker_stage_seconds", "Time of this worker's attempts at a stage.", times)


def _labelled(name: str, says: str, labels: list[str], rows: Iterable[tuple[object, ...]]) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, says, labels=labels)
    for *values, value in rows:
        gauge.add_metric([str(label) for label in values], float(str(value)))
    return gauge


def _histogram(name: str, says: str, times: Iterable[Times]) -> HistogramMetricFamily:
    histogram = HistogramMetricFamily(name, says, labels=["stage", "outcome"])
    for each in times:
        buckets = [(str(bound), count) for bound, count in zip(BUCKETS_S, each.within, strict=True)]
        histogram.add_metric([each.stage, each.outcome], [*buckets, ("+Inf", each.count)], sum_value=each.total_s)
    return histogram
