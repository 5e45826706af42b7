"""`make demo`: the whole job through the platform, as a program that uses the API would do it.

Starts an embedded platform, submits a clip, shows progress, downloads the avatar, renders two videos as a batch, says
where they are, and stops what it started, also when it fails or is interrupted.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import print_json, stage_context, stderr
from core.errors import InputRefusedError, LikenessError, UsageError

if TYPE_CHECKING:
    from likeness_client import Client, Render

PLAIN_BACKGROUND = "#2f6f8f"
"""With one speech, the second video shows the same words before this colour."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog="Example: likeness demo --video me.mp4 --audio speech.wav")(demo)


def demo(
    video: Annotated[Path | None, typer.Option("--video", help="A clip; by default a sample made here.")] = None,
    audio: Annotated[list[Path] | None, typer.Option("--audio", help="Speech; can be repeated.")] = None,
    profile: Annotated[str, typer.Option("--profile", help="draft, standard or paper.")] = "draft",
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("out/demo"),
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Adapt a clip through an embedded platform and render two lip-synced videos."""
    from cli.serve import embedded_platform, worker_command
    from core.settings import load_settings
    from likeness_client import Client, ClientError, InputRejectedError, JobFailedError

    began = time.monotonic()
    clip, speeches = _inputs(video, list(audio or []), out)
    _quiet_logs(out)
    settings = load_settings(data_dir=out / "platform", port=0, mode="embedded")
    stderr.print("starting the platform: API, relay, reaper, one worker")
    with embedded_platform(settings, worker_command(settings)) as running:
        stderr.print(
            f"  it listens on {running.url}; its worker's log is {out / 'platform/logs/worker.log'}", soft_wrap=True
        )
        try:
            with Client(running.url, running.api_key) as client:
                report = _run(client, clip, speeches, profile, out)
        except InputRejectedError as error:
            raise InputRefusedError(error.code, error.message, error.hint) from error
        except JobFailedError as error:
            raise LikenessError(error.code, error.message, error.hint) from error
        except ClientError as error:
            raise LikenessError("demo_failed", str(error), "The worker's log has the details.") from error
        stderr.print("stopping the platform")
    report["seconds_total"] = round(time.monotonic() - began, 1)
    _tell(report)
    if json_output:
        print_json(report)


def _inputs(video: Path | None, audio: list[Path], out: Path) -> tuple[Path, list[Path]]:
    """The clip and the speeches: the reader's own, or those of the sample that the project makes itself."""
    for path in ([video] if video is not None else []) + audio:
        if not path.is_file():
            raise UsageError("file_not_found", f"There is no file {path.name}.", "Check the path.")
    if video is not None and audio:
        return video, audio
    from core.sample import generate_sample

    stderr.print("making the sample clip and its speeches (kept for the next time)")
    with stage_context() as context:

        def show(fraction: float) -> None:
            context.check()
            context.report("sample", fraction)

        sample = generate_sample(out.parent / "sample", report=show)
    return video or sample.video, audio or [sample.speech_a, sample.speech_b]


def _run(client: Client, clip: Path, speeches: list[Path], profile: str, out: Path) -> dict[str, Any]:
    from cli.jobbar import JobBar

    upload = client.upload(clip)
    # The sample is nobody; with a clip of your own, running the demo on it is your word that the person agreed.
    identity = client.create_identity(upload, consent_attested=True, name=clip.stem, profile=profile)
    started = time.monotonic()
    with JobBar("avatar") as bar:
        job = client.wait(identity.job, on_progress=bar.show, poll_s=0.5)
    adapt_seconds = time.monotonic() - started
    bundle = out / f"{clip.stem}.likeness"
    client.download_bundle(identity.id, bundle)

    started = time.monotonic()
    wanted: list[dict[str, Any]] = [{"upload": client.upload(speech)} for speech in speeches]
    if len(wanted) == 1:
        wanted.append({**wanted[0], "background": PLAIN_BACKGROUND})
    names = _names(speeches, len(wanted))
    batch = client.create_batch_of(identity.id, wanted)
    videos = []
    for name, render in zip(names, batch.renders, strict=True):
        with JobBar(name) as bar:
            client.wait(render.job, on_progress=bar.show, poll_s=0.5)
        client.download_render(render.id, out / f"{name}.mp4")
        videos.append(_described(client.render(render.id), out / f"{name}.mp4"))
    return {
        "bundle": str(bundle),
        "profile": profile,
        "seconds_adapt": round(adapt_seconds, 1),
        "seconds_stages": {stage["name"]: round(stage["finished_at"] - stage["started_at"], 1) for stage in job.stages},
        "seconds_render": round(time.monotonic() - started, 1),
        "videos": videos,
    }


def _names(speeches: list[Path], count: int) -> list[str]:
    stems = [speech.stem for speech in speeches] if len(speeches) == count else [speeches[0].stem] * count
    return [stem if stems.index(stem) == index else f"{stem}_{index + 1}" for index, stem in enumerate(stems)]


def _described(render: Render, path: Path) -> dict[str, Any]:
    return {"output": str(path), **(render.result or {})}


def _tell(report: dict[str, Any]) -> None:
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report["seconds_stages"].items())
    stderr.print(f"\n[bold]avatar[/]  {report['bundle']}", soft_wrap=True)
    stderr.print(f"        {report['seconds_adapt']:.0f} s ({stages}), profile {report['profile']}", soft_wrap=True)
    for video in report["videos"]:
        stderr.print(f"[bold]video[/]   {video['output']}", soft_wrap=True)
        figures = [f"{video[name]} {unit}" for name, unit in _FIGURES if video.get(name) is not None]
        stderr.print(f"        {', '.join(figures)}", soft_wrap=True)
    stderr.print(f"all of it took {report['seconds_total']:.0f} s", highlight=False)


_FIGURES = (
    ("frames", "frames"),
    ("seconds", "s"),
    ("fps_model", "frames/s of synthesis"),
    ("fps_total", "frames/s to the finished file"),
)


def _quiet_logs(out: Path) -> None:
    """The platform's own log goes to a file: the terminal is for the reader."""
    from workers.logs import configure_logs

    out.mkdir(parents=True, exist_ok=True)
    configure_logs(os.fdopen(os.open(out / "platform.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "a"))


if __name__ == "__main__":
    _app = typer.Typer(add_completion=False)
    register(_app)
    try:
        _app()
    except LikenessError as failure:
        from cli.console import exit_code, print_error

        print_error(failure)
        sys.exit(exit_code(failure))
