"""`likeness api`: the API as a process of its own, for an installation with servers. Several may run side by side."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

STOP_SECONDS = 20
"""How long open requests and streams may go on after SIGTERM."""


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def api(
        port: Annotated[int | None, typer.Option(help="Port (LIKENESS_PORT; 8000).")] = None,
        host: Annotated[str | None, typer.Option(help="Address (LIKENESS_HOST; 127.0.0.1).")] = None,
    ) -> None:
        """Answer HTTP requests until told to stop. The database must be migrated (`likeness migrate`)."""
        import uvicorn

        from api.app import create_app
        from api.bootstrap import collect_rarely, open_platform
        from core.settings import load_settings
        from core.telemetry import start_tracing
        from workers.logs import configure_logs

        given = {"host": host, "port": port}
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
        configure_logs(sys.stderr)
        send_spans = start_tracing(settings.otlp_endpoint, "likeness-api")
        platform = open_platform(settings, migrate=False)
        web = create_app(platform)
        collect_rarely()
        try:
            uvicorn.run(
                web,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=STOP_SECONDS,
                server_header=False,
            )
        finally:
            platform.database.close()
            send_spans()
