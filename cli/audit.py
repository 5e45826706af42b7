"""`likeness audit`: whether the audit log is whole, and what it says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import print_json, stderr
from cli.operator import DataOption, JsonOption, opened
from core.errors import LikenessError


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="The audit log.")
    group.command(epilog="Example: likeness audit verify --json > heads.json")(verify)
    group.command(epilog="Example: likeness audit show ten_...")(show)
    app.add_typer(group, name="audit")


def verify(
    expect: Annotated[
        list[str] | None,
        typer.Option(help="CHAIN=HASH: an entry with this hash must be in the chain; keep what --json prints."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Walk every chain from its start. Exit 1 where an entry was changed, removed or put in."""
    from sqlalchemy import select

    from core.accounts import audit
    from core.accounts.tables import AuditEntry

    missing = []
    with opened(data) as (_, database), database.read() as session:
        verdicts = [audit.verify(session, chain) for chain in audit.chains(session)]
        for one in expect or ():
            chain, _, head = one.partition("=")
            if (
                session.scalar(select(AuditEntry.number).where(AuditEntry.chain == chain, AuditEntry.hash == head))
                is None
            ):
                missing.append(chain)
    if as_json:
        print_json([asdict(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            state = "whole" if verdict.broken_at is None else f"broken at entry {verdict.broken_at}"
            stderr.print(f"{verdict.chain}  {verdict.entries} entries, {state}, head {verdict.head}", soft_wrap=True)
    broken = sorted({verdict.chain for verdict in verdicts if verdict.broken_at is not None} | set(missing))
    if broken:
        raise LikenessError(
            "audit_broken", f"The audit log of {', '.join(broken)} is not whole.", "Compare it with a backup."
        )


def show(
    chain: Annotated[str, typer.Argument(help="A tenant's id, or `operator`.")],
    data: DataOption = None,
) -> None:
    """Print a chain's entries as JSON, oldest first."""
    from sqlalchemy import select

    from core.accounts.tables import AuditEntry

    names = ("number", "at", "actor", "action", "subject", "request_id", "data", "previous", "hash")
    with opened(data) as (_, database), database.read() as session:
        rows = session.scalars(select(AuditEntry).where(AuditEntry.chain == chain).order_by(AuditEntry.number)).all()
        found = [{name: getattr(row, name) for name in names} for row in rows]
    print_json(found)
