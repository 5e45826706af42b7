"""The `likeness` command: gathers the sub-commands and turns typed errors into exit codes. Does no work itself."""

from __future__ import annotations

import importlib
import sys

import typer

from cli.console import exit_code, print_error
from core.errors import LikenessError

COMMANDS = (
    "inspect", "adapt", "render", "evaluate", "ablate", "pretrain", "crossvalidate", "bench", "serve", "worker",
    "client", "doctor", "models", "sample", "demo", "stack", "sweep", "api", "background", "migrate", "tenant",
    "tenants", "keys", "audit",
)  # fmt: skip


def build() -> typer.Typer:
    """The command tree; every module under `cli` named above adds its own commands."""
    app = typer.Typer(
        name="likeness",
        help="Personal 3D talking heads from a few seconds of video, on a CPU.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMANDS:
        importlib.import_module(f"cli.{name}").register(app)
    return app


def main() -> None:
    """Entry point of the console script."""
    try:
        build()()
    except LikenessError as error:
        print_error(error)
        sys.exit(exit_code(error))
