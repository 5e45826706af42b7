"""`likeness keys`: API keys on the operator's side, for any tenant. Every change is in the audit log."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cli.console import print_json, stderr
from cli.operator import DataOption, JsonOption, opened
from core.errors import UsageError

TenantArgument = Annotated[str, typer.Argument(help="A tenant's id; `likeness tenants list` shows them.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="API keys of tenants, on the operator's side.")
    group.command(epilog="Example: likeness keys create ten_... --name ci --scope read --scope write --days 90")(create)
    group.command("list", epilog="Example: likeness keys list ten_...")(list_keys)
    group.command(epilog="Example: likeness keys revoke ten_... key_...")(revoke)
    app.add_typer(group, name="keys")


def create(
    tenant: TenantArgument,
    name: Annotated[str, typer.Option(help="For people.")] = "key",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, write, consents, review, webhooks, admin; can be repeated. All but review and admin."),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.01, help="It ends after so many days.")] = None,
    data: DataOption = None,
) -> None:
    """Make a key, and print it as JSON. It can't be shown again."""
    from core.accounts import audit
    from core.accounts.keys import USUAL_SCOPES, Scope, make_key
    from core.accounts.secret import platform_secret
    from core.jobs.tables import Tenant

    unknown = sorted(set(scope or ()) - set(Scope))
    if unknown:
        raise UsageError("scope_unknown", f"There is no scope {', '.join(unknown)}.", f"Use {', '.join(Scope)}.")
    with opened(data) as (settings, database), database.write() as session:
        if session.get(Tenant, tenant) is None:
            raise _no_tenant(tenant)
        row, key = make_key(
            session,
            tenant,
            platform_secret(settings),
            name=name,
            scopes=scope or USUAL_SCOPES,
            lifetime_s=days * 86400 if days is not None else None,
        )
        audit.record(session, tenant, actor=audit.OPERATOR, action="key.created", subject=row.id, scopes=row.scopes)
        made = {"id": row.id, "tenant": tenant, "scopes": row.scopes, "api_key": key}
    print_json(made)


def list_keys(tenant: TenantArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List a tenant's keys: revoked and expired ones, too."""
    from sqlalchemy import select

    from core.accounts.tables import ApiKey

    with opened(data) as (_, database), database.read() as session:
        rows = session.scalars(select(ApiKey).where(ApiKey.tenant_id == tenant).order_by(ApiKey.id)).all()
        found = [_described(row) for row in rows]
    if as_json:
        print_json(found)
        return
    for key in found:
        stderr.print(f"{key['id']}  {key['start']}...  {key['state']:8}  {key['name']}  {' '.join(key['scopes'])}")


def revoke(
    tenant: TenantArgument,
    key: Annotated[str, typer.Argument(help="The key's id.")],
    data: DataOption = None,
) -> None:
    """End a key for good."""
    from core.accounts import audit
    from core.accounts.keys import revoke_key

    with opened(data) as (_, database), database.write() as session:
        if not revoke_key(session, tenant, key):
            raise UsageError(
                "key_unknown", "The tenant has no such key that is not revoked.", "See `likeness keys list`."
            )
        audit.record(session, tenant, actor=audit.OPERATOR, action="key.revoked", subject=key)
    stderr.print(f"revoked {key}")


def _described(row: Any) -> dict[str, Any]:
    ended = row.expires_at is not None and row.expires_at < time.time()
    state = "revoked" if row.revoked_at is not None else "expired" if ended else "live"
    names = ("id", "name", "start", "scopes", "created_at", "expires_at", "last_used_at")
    return {**{name: getattr(row, name) for name in names}, "state": state}


def _no_tenant(tenant: str) -> UsageError:
    return UsageError("tenant_unknown", f"There is no tenant {tenant}.", "`likeness tenants list` shows them.")
