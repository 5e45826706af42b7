"""The real application over a real database and store, called in this process; and two tenants."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.app import create_app
from api.bootstrap import open_platform
from api.deps import Platform
from core.accounts.keys import create_key, create_tenant
from core.jobs import claims, lease
from core.jobs.kinds import QUEUES, JobKind
from core.jobs.publish import publish_bundle, publish_umf, publish_video
from core.jobs.tables import Base
from core.settings import load_settings


@dataclass(frozen=True)
class Api:
    """One tenant's view of the application."""

    platform: Platform
    http: TestClient

    def upload(self, content: bytes = b"some bytes", filename: str = "clip.mp4", *, complete: bool = True) -> str:
        body = {"filename": filename, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        made = self.http.post("/v1/uploads", json=body).json()
        if complete:
            assert self.http.put(made["put"]["url"], content=content).status_code == 200
            assert self.http.post(f"/v1/uploads/{made['id']}/complete").status_code == 200
        return str(made["id"])

    def consent(self, **more: Any) -> str:
        body = {"subject": "Ada", "purpose": "tests", "attested": True, **more}
        answer = self.http.post("/v1/consents", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def identity(self, **more: Any) -> dict[str, Any]:
        body = {"upload": self.upload(), "consent": self.consent(), "profile": "draft", **more}
        answer = self.http.post("/v1/identities", json=body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def run(self, tmp_path: Path) -> None:
        """Be a worker that finishes every queued stage at once."""
        database, store = self.platform.database, self.platform.store
        while claim := claims.claim_next(database, QUEUES, "test", 60):
            source = tmp_path / "bundle"
            source.write_bytes(claim.subject_id.encode())
            key = f"{claim.tenant_id}/x/{claim.subject_id}/a{claim.attempt}/bundle"

            def publish(session: Any, claim: Any = claim, key: str = key, source: Path = source) -> None:
                stored = store.put(key, source)
                made = (session, claim.subject_id, key, stored.size, stored.sha256)
                if claim.kind == JobKind.RENDER:
                    publish_video(*made, {"frames": 75, "seconds": 3.0})
                elif claim.kind == JobKind.PRETRAIN:
                    publish_umf(*made, {"iterations": 20})
                else:
                    publish_bundle(*made)

            lease.finish(database, claim, 3, publish)


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, TestClient]]:
    """One application for all tests; `platform` empties it."""
    settings = load_settings(
        data_dir=tmp_path_factory.mktemp("platform"),
        database_url=os.environ.get("LIKENESS_TEST_DATABASE_URL", ""),  # an empty Postgres database; else SQLite
        max_upload_bytes=10_000,
        part_bytes=4096,
        event_stream_seconds=1,
        event_poll_seconds=0.05,
    )
    platform = open_platform(settings)
    with TestClient(create_app(platform)) as http:
        yield platform, http
    platform.database.close()


@pytest.fixture
def platform(opened: tuple[Platform, TestClient]) -> Platform:
    """The platform without any row or object."""
    platform, _ = opened
    with platform.database.write() as session:
        if session.get_bind().dialect.name == "sqlite":
            session.execute(text("PRAGMA defer_foreign_keys = ON"))
            for table in Base.metadata.tables.values():
                if table.name != "audit_entry":  # nobody can delete from it, not even a test
                    session.execute(table.delete())
        else:
            session.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)} CASCADE"))
    for folder in ("objects/data", "objects/sums", "objects/parts", "umfs"):
        shutil.rmtree(platform.settings.data_dir / folder, ignore_errors=True)
        (platform.settings.data_dir / folder).mkdir()
    return platform


@pytest.fixture
def api(platform: Platform, opened: tuple[Platform, TestClient]) -> Api:
    return _tenant(platform, opened[1])


@pytest.fixture
def stranger(platform: Platform, opened: tuple[Platform, TestClient]) -> Api:
    """Another tenant of the same platform."""
    return _tenant(platform, opened[1])


def _tenant(platform: Platform, http: TestClient) -> Api:
    with platform.database.write() as session:
        key = create_key(session, create_tenant(session, "one"), platform.secret_key)
    view = copy.copy(http)  # the same application, with headers of its own
    view.headers = {**http.headers, "Authorization": f"Bearer {key}"}
    return Api(platform, view)


@pytest.fixture
def refused() -> Callable[[Any], str]:
    """Checks that an answer is a whole problem body, and returns its code."""

    def check(answer: Any) -> str:
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        body = answer.json()
        assert body["status"] == answer.status_code
        assert body["type"] == f"urn:likeness:error:{body['code']}"
        assert body["hint"]
        assert body["request_id"] == answer.headers["x-request-id"]
        assert isinstance(body["retryable"], bool)
        return str(body["code"])

    return check
