"""`likeness tenant`: a new tenant with its first API key, on the operator's side; all other keys come from the API."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import print_json


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def tenant(name: Annotated[str, typer.Argument(help="For people, such as a company's name.")]) -> None:
        """Add a tenant, and print its id and its first key as JSON. The key can't be shown again."""
        from core.accounts.keys import create_key, create_tenant
        from core.accounts.secret import platform_secret
        from core.jobs.database import Database
        from core.settings import load_settings

        settings = load_settings()
        database = Database(settings.database)
        try:
            database.require_current()
            with database.write() as session:
                made = create_tenant(session, name)
                key = create_key(session, made, platform_secret(settings), name="first key")
        finally:
            database.close()
        print_json({"tenant": made, "api_key": key})
