"""Dashboard and alert rules ask only for metrics that exist, in queries that Prometheus can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import prometheus_client
import promql_parser
import pytest
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from api.health.metrics import Metrics
from core.jobs.database import Database
from core.telemetry.collectors import WorkerCollector
from tests.infra.files import ROOT

FOLDER = ROOT / "infra" / "monitoring"
ALERTS = [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
QUERIES = [rule["expr"] for rule in ALERTS] + [target["expr"] for panel in PANELS for target in panel["targets"]]


def families(registry: prometheus_client.CollectorRegistry) -> Iterator[Metric]:
    yield from text_string_to_metric_families(prometheus_client.generate_latest(registry).decode())


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Of each series that a real API and a real worker show: its name, and the labels that it may have."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('metrics') / 'db.sqlite3'}")
    database.migrate()
    metrics = Metrics(database)
    metrics.requests.labels("GET", "/v1/jobs", 200).inc()
    metrics.seconds.labels("GET", "/v1/jobs").observe(0.1)
    metrics.registry.register(WorkerCollector(database, "worker-a:"))
    found: dict[str, set[str]] = {}
    for family in families(metrics.registry):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    database.close()
    # Nothing has run in this database, so these have no series yet: names and labels as `collectors.py` gives them.
    for name in ("likeness_stage_seconds", "likeness_worker_stage_seconds"):
        for suffix, more in (("_count", set()), ("_sum", set()), ("_bucket", {"le"})):
            found[f"{name}{suffix}"] = {"stage", "outcome", *more}
    found["likeness_jobs"] = {"kind", "state"}
    found["process_resident_memory_bytes"] = set()
    return found


def selectors(expression: object) -> Iterator[promql_parser.VectorSelector]:
    """The vector selectors of a parsed query, at any depth."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("lhs", "rhs", "expr", "args", "vector_selector", "param"):
        inner = getattr(expression, name, None)
        for part in inner if isinstance(inner, list) else [inner]:
            if part is not None:
                yield from selectors(part)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_can_be_read_and_its_metrics_exist(query: str, labels: dict[str, set[str]]) -> None:
    used = list(selectors(promql_parser.parse(query)))
    assert used
    for selector in used:
        assert selector.name in labels, query
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels[selector.name], f"{matcher.name} in {query}"


def test_a_wrong_query_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        promql_parser.parse("sum(rate(likeness_jobs[5m])")


def test_every_alert_is_explained_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text()
    for rule in ALERTS:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in runbook


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_files_are_where_the_runbook_says() -> None:
    assert sorted(path.name for path in Path(FOLDER).iterdir()) == ["alerts.yaml", "dashboard.json"]
