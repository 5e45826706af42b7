"""`likeness stack`: the servers of a real installation on this machine, for `likeness serve` and `likeness worker`."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.console import print_json, stderr

ENVIRONMENT_FILE = "stack.env"


def register(app: typer.Typer) -> None:
    """Add the command to the command tree."""

    @app.command()
    def stack(
        data: Annotated[Path, typer.Option(help="Folder of the servers and of the platform.")] = Path("likeness-stack"),
        as_json: Annotated[bool, typer.Option("--json", help="Print the settings as JSON.")] = False,
    ) -> None:
        """Run Postgres, Valkey and SeaweedFS (S3) from wheels, and write the settings for them. Ctrl-C stops all."""
        from cli.services import servers

        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        folder = data.absolute()
        began = time.monotonic()
        with servers(folder) as running:
            settings = {**running.environment(), "LIKENESS_DATA_DIR": str(folder / "platform")}
            path = write_environment(folder / ENVIRONMENT_FILE, settings)
            if as_json:
                print_json(settings)
                sys.stdout.flush()
            else:
                for service in (running.postgres, running.valkey, running.seaweedfs):
                    stderr.print(f"{service.name:>10}  127.0.0.1:{service.port}")
                stderr.print(f"up in {time.monotonic() - began:.1f} s; in another terminal:")
                stderr.print(f"  set -a; . {path}; set +a; likeness serve", soft_wrap=True, markup=False)
            stop.wait()


def write_environment(path: Path, settings: dict[str, str]) -> Path:
    """Write the settings as a file for a shell; there are secrets in it, so only its owner can read it."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
    return path
