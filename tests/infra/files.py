"""The files under infra/ as data, with the variables of the compose file filled in as the engine would do it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer.main
import yaml

from cli.main import build
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    name: name.lower().replace("_", "-") + "-" + "0123456789abcdef" * 2
    for name in ("LIKENESS_SECRET_KEY", "POSTGRES_PASSWORD", "VALKEY_PASSWORD", "S3_SECRET_KEY")
}
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<kind>:[-?])(?P<rest>[^}]*))?\}")


class VariableMissingError(Exception):
    """`docker compose` would refuse to start."""


def compose_text(environment: Mapping[str, str]) -> str:
    """docker-compose.yml with its variables filled in."""

    def fill(found: re.Match[str]) -> str:
        if found.group() == "$$":
            return "$"
        value = environment.get(found["name"], "")
        if not value and found["kind"] == ":?":
            raise VariableMissingError(found["name"])
        return value or (found["rest"] if found["kind"] == ":-" else "")

    lines = (ROOT / "docker-compose.yml").read_text().splitlines(keepends=True)
    return "".join(line if line.lstrip().startswith("#") else _VARIABLE.sub(fill, line) for line in lines)


def compose() -> dict[str, Any]:
    """docker-compose.yml, its variables filled in and its anchors resolved."""
    read: dict[str, Any] = yaml.safe_load(compose_text(SECRETS))
    return read


def ours(services: Mapping[str, Any]) -> dict[str, Any]:
    """The services that run the product."""
    return {name: service for name, service in services.items() if service["image"].startswith("likeness")}


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """(File's name, document) of all Kubernetes manifests."""
    for path in sorted((ROOT / "infra" / "kubernetes").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def unknown_variables(names: Mapping[str, Any]) -> list[str]:
    """Of the environment, the `LIKENESS_...` that are no setting: misspelt, they would be ignored in silence."""
    known = {f"LIKENESS_{field.upper()}" for field in Settings.model_fields}
    return sorted(name for name in names if name.startswith("LIKENESS_") and name not in known)


def parse(arguments: list[str]) -> None:
    """Parse a command line of `likeness`, without running it; a wrong one raises click's UsageError."""
    group = typer.main.get_command(build())
    name, *rest = arguments
    command = group.commands[name]  # type: ignore[attr-defined]
    command.make_context(name, rest)
