"""Requests that schemathesis makes up from the OpenAPI, good and bad ones: no 500, and no answer that it does not name.

A few for each route here; many with `LIKENESS_API_EXAMPLES=300 python -m pytest tests/api/test_openapi.py`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.bootstrap import first_key, open_platform
from core.settings import load_settings
from tests.api.serving import serving

EXAMPLES = int(os.environ.get("LIKENESS_API_EXAMPLES", "4"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REAL_IDS = 0.7
"""In so many requests ids are those of things that exist."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, key) of a platform of its own."""
    wanted = load_settings(
        data_dir=tmp_path_factory.mktemp("platform"),
        database_url=os.environ.get("LIKENESS_TEST_DATABASE_URL", ""),  # an empty Postgres database; else SQLite
        event_stream_seconds=0.2,
        event_poll_seconds=0.1,
    )
    platform = open_platform(wanted)
    key = first_key(platform)
    with serving(platform) as url:
        yield url, key
    platform.database.close()


@pytest.fixture(scope="module")
def http(served: tuple[str, str]) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {served[1]}"
        yield session


@pytest.fixture(scope="module")
def ids(served: tuple[str, str], http: requests.Session) -> dict[str, str]:
    """One of everything that a key can make."""
    url = f"{served[0]}/v1"

    def make(path: str, **body: Any) -> dict[str, Any]:
        answer = http.post(f"{url}/{path}", json=body)
        assert answer.ok, answer.text
        return dict(answer.json())

    upload = make("uploads", filename="a.mp4", size=1, sha256="0" * 64)["id"]
    consent = make("consents", subject="Ada", purpose="tests", attested=True)["id"]
    made = make("identities", upload=upload, consent=consent)
    endpoint = make("webhook-endpoints", url="https://example.com/hook")["id"]
    return {
        "upload_id": upload,
        "consent_id": consent,
        "identity_id": made["identity"]["id"],
        "job_id": made["job"]["id"],
        "endpoint_id": endpoint,
        "delivery_id": make(f"webhook-endpoints/{endpoint}/test")["id"],
        "upload": upload,
        "consent": consent,
        "identity": made["identity"]["id"],
    }


def test_every_answer_is_one_that_the_document_names(
    served: tuple[str, str], http: requests.Session, ids: dict[str, str]
) -> None:
    document = schemathesis.openapi.from_url(f"{served[0]}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 40
    failures = []
    for operation in operations:
        try:
            _try_out(operation, http, ids)
        except (schemathesis.errors.SchemathesisError, AssertionError, FailureGroup) as failure:
            failures.append(f"{operation.method.upper()} {operation.path}: {failure}")
    assert not failures, "\n\n".join(failures)


def _try_out(operation: schemathesis.APIOperation, http: requests.Session, ids: dict[str, str]) -> None:
    @given(case=one_of(operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    def send(case: schemathesis.Case) -> None:
        chance = random.Random(f"{case.path_parameters!r}{case.body!r}")
        for name in list(case.path_parameters or {}):
            if name in ids and chance.random() < REAL_IDS:
                case.path_parameters[name] = ids[name]
        if isinstance(case.body, dict):
            for name in ("upload", "consent", "identity"):
                if name in case.body and chance.random() < REAL_IDS:
                    case.body[name] = ids[name]
        answer = case.call(session=http, headers={"Authorization": http.headers["Authorization"]})
        case.validate_response(answer, checks=CHECKS)

    send()


def test_the_document_names_every_route_and_its_problems(served: tuple[str, str], http: requests.Session) -> None:
    paths = http.get(f"{served[0]}/openapi.json").json()["paths"]
    keyed = {path: methods for path, methods in paths.items() if not path.endswith(("healthz", "readyz", "metrics"))}
    assert len(keyed) > 30
    for path, methods in keyed.items():
        for method, operation in methods.items():
            named = set(operation["responses"])
            assert {"401", "403", "422", "429", "503"} <= named, (method, path)
            assert "404" in named or "{" not in path, (method, path)
            for status in named & {"400", "401", "402", "403", "404", "409", "410", "413", "422", "429", "503"}:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"], (method, path)
