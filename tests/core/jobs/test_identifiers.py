"""Ids sort by the time they were made, and say what they name."""

from __future__ import annotations

import time
import uuid

from core.accounts.keys import create_key, create_tenant, tenant_of_key
from core.jobs.database import Database
from core.jobs.identifiers import new_id


def test_ids_are_uuids_of_version_7_that_grow() -> None:
    made = [new_id("job") for _ in range(2000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    value = uuid.UUID(made[-1].removeprefix("job_"))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert abs((value.int >> 80) / 1000 - time.time()) < 5


def test_a_key_opens_its_tenant_and_the_database_does_not_hold_it(database: Database) -> None:
    with database.write() as session:
        tenant = create_tenant(session, "one")
        key = create_key(session, tenant, "secret")
    with database.read() as session:
        assert tenant_of_key(session, key, "secret") == tenant
        assert tenant_of_key(session, key, "another secret") is None
        assert tenant_of_key(session, key[:-1] + ("a" if key[-1] != "a" else "b"), "secret") is None
        assert tenant_of_key(session, "", "secret") is None
    contents = b"".join(path.read_bytes() for path in _files(database))
    assert key.encode() not in contents


def _files(database: Database):  # type: ignore[no-untyped-def]
    from pathlib import Path

    path = Path(str(database.engine.url.database))
    return [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
