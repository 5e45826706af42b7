"""Keys, tenants and the audit log on the operator's side: the real commands over a real database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner

from api.bootstrap import open_platform
from cli import audit, keys, tenants
from cli.console import exit_code
from core.accounts.keys import create_tenant, tenant_of_key
from core.errors import LikenessError
from core.settings import load_settings


@pytest.fixture
def tenant(tmp_path: Path) -> str:
    platform = open_platform(load_settings(data_dir=tmp_path))
    with platform.database.write() as session:
        made = create_tenant(session, "A company")
    platform.database.close()
    return made


@pytest.fixture
def likeness(tmp_path: Path, tenant: str) -> Callable[..., tuple[int, Any]]:
    app = typer.Typer()
    for commands in (keys, tenants, audit):
        commands.register(app)

    def call(*arguments: str) -> tuple[int, Any]:
        """Returns the exit code, and the JSON on stdout or the error."""
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        if isinstance(result.exception, LikenessError):
            return exit_code(result.exception), result.exception
        assert result.exit_code == 0, result.output
        return 0, json.loads(result.stdout) if result.stdout.strip() else None

    return call


def test_a_key_is_made_listed_and_revoked(likeness: Any, tenant: str, tmp_path: Path) -> None:
    _, made = likeness("keys", "create", tenant, "--name", "ci", "--scope", "read", "--days", "1")
    platform = open_platform(load_settings(data_dir=tmp_path))
    with platform.database.read() as session:
        assert tenant_of_key(session, made["api_key"], platform.secret_key) == tenant
    _, listed = likeness("keys", "list", tenant, "--json")
    assert [(key["id"], key["state"], key["scopes"]) for key in listed] == [(made["id"], "live", ["read"])]
    assert likeness("keys", "revoke", tenant, made["id"]) == (0, None)
    assert likeness("keys", "list", tenant, "--json")[1][0]["state"] == "revoked"
    with platform.database.read() as session:
        assert tenant_of_key(session, made["api_key"], platform.secret_key) is None
    platform.database.close()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("keys", "create", "ten_0"), "tenant_unknown"),
        (("keys", "create", "ten_0", "--scope", "all"), "scope_unknown"),
        (("keys", "revoke", "ten_0", "key_0"), "key_unknown"),
        (("tenants", "quota", "ten_0", "--live-jobs", "1"), "tenant_unknown"),
    ],
)
def test_wrong_use_exits_with_2(likeness: Any, arguments: tuple[str, ...], code: str) -> None:
    status, error = likeness(*arguments)
    assert (status, error.code) == (2, code)


def test_a_quota_is_set_and_taken_back(likeness: Any, tenant: str) -> None:
    limits = {"stored_bytes": 1000, "video_seconds": None, "live_jobs": 2}
    assert likeness("tenants", "quota", tenant, "--stored-bytes", "1000", "--live-jobs", "2")[1]["limits"] == limits
    assert likeness("tenants", "list", "--json")[1][0]["limits"] == limits
    assert set(likeness("tenants", "quota", tenant, "--default")[1]["limits"].values()) == {None}


def test_the_audit_log_is_walked(likeness: Any, tenant: str, tmp_path: Path) -> None:
    for limit in ("1", "2", "3"):
        likeness("tenants", "quota", tenant, "--live-jobs", limit)
    _, (verdict,) = likeness("audit", "verify", "--json")
    assert (verdict["chain"], verdict["entries"], verdict["broken_at"]) == (tenant, 3, None)
    assert [entry["action"] for entry in likeness("audit", "show", tenant)[1]] == ["quota.changed"] * 3
    assert likeness("audit", "verify", "--expect", f"{tenant}={verdict['head']}")[0] == 0
    platform = open_platform(load_settings(data_dir=tmp_path))
    with platform.database.write() as session:  # someone cuts the log's end off
        session.execute(text("DROP TRIGGER audit_entry_no_delete"))
        session.execute(text("DELETE FROM audit_entry WHERE number = 3"))
    platform.database.close()
    assert likeness("audit", "verify")[0] == 0
    status, error = likeness("audit", "verify", "--expect", f"{tenant}={verdict['head']}")
    assert (status, error.code) == (1, "audit_broken")
