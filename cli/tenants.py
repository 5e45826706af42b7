"""`likeness tenants`: who has an account here, what they use, and what they may use. `likeness tenant` adds one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.console import print_json, stderr
from cli.operator import DataOption, JsonOption, opened
from core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Tenants: what they use, and what they may use.")
    group.command("list", epilog="Example: likeness tenants list --json")(list_tenants)
    group.command(epilog="Example: likeness tenants quota ten_... --stored-bytes 50000000000 --live-jobs 20")(quota)
    app.add_typer(group, name="tenants")


def list_tenants(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all tenants with what they store and what they rendered in the last 30 days."""
    from sqlalchemy import select

    from core.jobs.tables import Tenant

    with opened(data) as (settings, database), database.read() as session:
        tenants = session.scalars(select(Tenant).order_by(Tenant.id)).all()
        found = [{"id": one.id, "name": one.name, **_standing(session, settings, one.id)} for one in tenants]
    if as_json:
        print_json(found)
        return
    for one in found:
        stderr.print(
            f"{one['id']}  {one['name']}: {one['stored_bytes']} bytes, {one['video_seconds']:g} s of video",
            soft_wrap=True,
        )


def quota(
    tenant: Annotated[str, typer.Argument(help="A tenant's id.")],
    stored_bytes: Annotated[int | None, typer.Option(min=0, help="Bytes that it may store.")] = None,
    video_seconds: Annotated[float | None, typer.Option(min=0, help="Seconds of video in 30 days.")] = None,
    live_jobs: Annotated[int | None, typer.Option(min=0, help="Jobs that may wait or run at a time.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Back to the platform's defaults first.")] = False,
    data: DataOption = None,
) -> None:
    """Set what a tenant may use, where that is not the platform's default; print how it stands as JSON."""
    from core.accounts import audit
    from core.accounts.tables import Quota
    from core.jobs.tables import Tenant

    given = {"max_stored_bytes": stored_bytes, "max_video_seconds": video_seconds, "max_live_jobs": live_jobs}
    wanted = {name: value for name, value in given.items() if value is not None}
    with opened(data) as (settings, database), database.write() as session:
        if session.get(Tenant, tenant) is None:
            raise UsageError("tenant_unknown", f"There is no tenant {tenant}.", "`likeness tenants list` shows them.")
        row = session.get(Quota, tenant) or Quota(tenant_id=tenant)
        for name in given if default else ():
            setattr(row, name, None)
        for name, value in wanted.items():
            setattr(row, name, value)
        session.add(row)
        session.flush()
        standing = _standing(session, settings, tenant)
        if wanted or default:
            audit.record(session, tenant, actor=audit.OPERATOR, action="quota.changed", subject=tenant, limits=wanted)
    print_json({"id": tenant, **standing})


def _standing(session: Any, settings: Any, tenant: str) -> dict[str, Any]:
    from core.accounts.quotas import WINDOW_SECONDS, limits_of
    from core.accounts.usage import stored_bytes, video_seconds

    limits = limits_of(session, settings, tenant)
    return {
        "stored_bytes": stored_bytes(session, tenant),
        "video_seconds": video_seconds(session, tenant, WINDOW_SECONDS),
        "limits": {
            "stored_bytes": limits.stored_bytes,
            "video_seconds": limits.video_seconds,
            "live_jobs": limits.live_jobs,
        },
    }
