"""`likeness doctor`: what works on this machine, what is missing, and how to get it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.console import print_json, stderr
from cli.models import model_states

_LEAST_DISK_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    state: str
    """`ok`, `better` (works, something would be better) or `missing` (needed, and absent)."""
    found: str
    advice: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog="Example: likeness doctor --json")(doctor)


def doctor(json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """Say what works here, what is missing, and how to get it; exit code 1 where something needed is missing."""
    findings = [check() for check in CHECKS] + _models()
    healthy = all(finding.state != "missing" for finding in findings)
    if json_output:
        print_json({"ready": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        colours = {"ok": "green", "better": "yellow", "missing": "red"}
        table = Table("what", "state", "found", "advice")
        for one in findings:
            table.add_row(one.name, f"[{colours[one.state]}]{one.state}[/]", one.found, one.advice)
        stderr.print(table)
    raise typer.Exit(0 if healthy else 1)


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} on {platform.machine()} {platform.system()}")


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("torch", "missing", str(error), "Run `make setup`.")
    cuda = f", CUDA device {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", CPU only"
    return Finding("torch", "ok", f"{torch.__version__}{cuda}")


def _cores() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    advice = "" if usable >= 2 else "Two cores are what the time goals are made for."
    return Finding("cores", "ok" if usable >= 2 else "better", f"{usable} usable", advice)


def _rasteriser() -> Finding:
    try:
        backend = str(importlib.import_module("core.splat").backend_name())
    except (ImportError, AttributeError, OSError) as error:
        return Finding("rasteriser", "missing", str(error), "Run `make setup`, which builds it.")
    if backend == "torch":
        return Finding(
            "rasteriser",
            "better",
            "torch reference, slow",
            "Run `make setup` with a C++ compiler present; docs/splatting.md names one that pip installs.",
        )
    return Finding("rasteriser", "ok", backend)


def _ffmpeg() -> Finding:
    from core.media import ffmpeg_version

    try:
        return Finding("ffmpeg", "ok", ffmpeg_version())
    except (OSError, RuntimeError, ValueError) as error:
        return Finding("ffmpeg", "missing", str(error), "Run `make setup`, which installs imageio-ffmpeg.")


def _landmarks() -> Finding:
    from core.clip.landmarks import choose_engine, graphics_libraries_present
    from core.errors import UsageError

    try:
        engine = choose_engine()
    except UsageError as error:
        return Finding("landmarks", "missing", error.message, error.hint)
    graphics = graphics_libraries_present()
    present = "libEGL and libGLESv2 present" if graphics else "libEGL or libGLESv2 missing (only mediapipe needs them)"
    if engine == "mediapipe" and not graphics:
        return Finding("landmarks", "missing", present, "Install libegl1 and libgles2, or unset LIKENESS_LANDMARKS.")
    if engine == "litert" and importlib.util.find_spec("ai_edge_litert") is None:
        return Finding("landmarks", "missing", "ai-edge-litert is not installed", "Run `make setup`.")
    return Finding("landmarks", "ok", f"{engine}; {present}")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    advice = "" if free > _LEAST_DISK_GB else "An adaptation needs about 0.5 GB of scratch space; free some."
    return Finding("disk", "ok" if free > _LEAST_DISK_GB else "better", f"{free:.1f} GB free here", advice)


CHECKS: tuple[Callable[[], Finding], ...] = (_python, _torch, _cores, _rasteriser, _ffmpeg, _landmarks, _disk)


def _models() -> list[Finding]:
    findings = []
    for row in model_states():
        name, state = f"model {row['name']}", str(row["state"])
        if state == "ready":
            findings.append(Finding(name, "ok", str(row["path"])))
        else:
            advice = f"{row['purpose']}: run `likeness models fetch {row['name']}`."
            findings.append(Finding(name, "better" if row["optional"] else "missing", state, advice))
    return findings
