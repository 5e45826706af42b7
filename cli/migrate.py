"""`likeness migrate`: the database at the schema of this version, and the bucket, before the new processes start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import stderr

if TYPE_CHECKING:
    from core.settings import Settings

RETRY_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def migrate(
        wait: Annotated[float, typer.Option(help="Seconds to wait for servers that are still starting.")] = 60.0,
    ) -> None:
        """Bring the database to its newest schema, and make the bucket where there is none. Older processes run on."""
        from botocore.exceptions import BotoCoreError
        from sqlalchemy.exc import OperationalError

        from core.jobs.database import Database
        from core.settings import load_settings

        settings = load_settings()
        database = Database(settings.database)
        until = time.monotonic() + wait
        try:
            while True:
                try:
                    database.migrate()
                    made = bool(settings.s3_bucket) and _make_bucket(settings)
                    break
                except (OperationalError, BotoCoreError):
                    if time.monotonic() > until:
                        raise
                    time.sleep(RETRY_SECONDS)
        finally:
            database.close()
        stderr.print("The database has the newest schema.")
        if made:
            stderr.print(f"The bucket {settings.s3_bucket} is made.")


def _make_bucket(settings: Settings) -> bool:
    """Make the bucket; False where there is one already."""
    from botocore.exceptions import ClientError

    from core.storage.s3_calls import open_client

    client = open_client(settings, settings.s3_endpoint)
    try:
        client.head_bucket(Bucket=settings.s3_bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=settings.s3_bucket)
        return True
    return False
