"""`likeness inspect`: what we would make of a clip, for people and for programs. Trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.adapt import JsonOption, ProfileOption, SecondsOption, StartOption, VideoArgument
from cli.console import print_json, stage_context, stderr

SheetOption = Annotated[
    Path | None,
    typer.Option(
        "--sheet", help="Write a contact sheet (PNG): landmarks, masks, pose, depth, normals, lips and voice."
    ),
]
_EXAMPLES = (
    "Examples: likeness inspect me.mp4  |  likeness inspect me.mp4 --sheet me.png  |"
    "  likeness inspect me.mp4 --start 12 --json"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect", epilog=_EXAMPLES)(inspect)


def inspect(
    video: VideoArgument,
    start: StartOption = 0.0,
    seconds: SecondsOption = 5.0,
    profile: ProfileOption = "standard",
    sheet: SheetOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say what we would make of a clip: verdict, warnings and what to do about them, measurements.

    Trains nothing. A clip that can't be used is refused with exit code 3, its code, and a hint.
    """
    from core import pipeline

    options = pipeline.AdaptOptions(profile=profile, start_s=start, seconds=seconds)
    with stage_context() as context:
        report = pipeline.inspect(video, options, context, sheet)
    if json_output:
        print_json(report)
        return
    show_report(report)
    if sheet is not None:
        stderr.print(f"contact sheet: {sheet}", soft_wrap=True, markup=False)


def show_report(report: dict[str, Any]) -> None:
    """Print a report (`core.clip.report.make_report`) for a person."""
    from core.clip.checks import CHECKS

    good = not report["warnings"]
    verdict = "[bold green]usable[/]" if good else "[bold yellow]usable, with warnings[/]"
    begin, end = report["used"]
    width, height = report["size"]
    stderr.print(
        f"{verdict}: {end - begin:.1f} s from {begin:.2f} s on, of {report['duration_s']:.1f} s", soft_wrap=True
    )
    stderr.print(f"{width}x{height} at {report['fps']:g} fps; yaw {_span(report['yaw_degrees'])}, ", end="")
    stderr.print(f"pitch {_span(report['pitch_degrees'])}; {_lag(report)}", soft_wrap=True)
    for warning in report["warnings"]:
        stderr.print(f"\n[bold yellow]{warning['code']}[/]: {warning['message']}", soft_wrap=True)
        stderr.print(f"  hint: {warning['hint']}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, side in (("measured", "left"), ("", "right"), ("good", "left"), ("refused", "left")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    missed = {warning["code"] for warning in report["warnings"]}
    for check in CHECKS:
        value = report[check.name]
        codes = {limit.code for limit in (check.warning, check.refusal) if limit is not None}
        colour = "yellow" if codes & missed and check.missed(value) is not None else "green"
        said = "not measured" if value is None else f"[{colour}]{check.said(value)}[/]"
        table.add_row(check.label, said, check.bound(check.warning), check.bound(check.refusal, refused=True))
    stderr.print()
    stderr.print(table)


def _span(limits: list[float]) -> str:
    return f"{limits[0]:+.0f} to {limits[1]:+.0f} degrees"


def _lag(report: dict[str, Any]) -> str:
    if report["lag_frames"] is None:
        return "lag of sound and lips not sure"
    return f"sound and lips {report['lag_frames']} frames apart"
