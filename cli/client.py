"""`likeness client`: the same jobs against a server. LIKENESS_URL and LIKENESS_API_KEY say which, and as whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import client_account
from cli.connected import add_command, need_file, upload, wait
from core.errors import UsageError
from likeness_client import Client

JobArgument = Annotated[str, typer.Argument(help="A job's id.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")]
TagOption = Annotated[list[str] | None, typer.Option("--tag", help="KEY=VALUE, your own mark; can be repeated.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="The same jobs against a server (LIKENESS_URL, LIKENESS_API_KEY).")
    for name, function, example in (
        ("submit", submit, "client submit me.mp4 --consent-attested --profile draft --wait"),
        ("status", status, "client status job_..."),
        ("jobs", jobs, "client jobs --state queued --state running"),
        ("wait", wait_for, "client wait job_... --timeout 600"),
        ("download", download, "client download idt_... -o me.likeness"),
        ("render", render, "client render idt_... --audio hello.wav --audio bye.wav -o videos"),
        ("cancel", cancel, "client cancel job_..."),
        ("retry", retry, "client retry job_..."),
        ("identities", identities, "client identities --tag team=red"),
        ("delete", delete, "client delete idt_..."),
        ("umfs", umfs, "client umfs"),
        ("pretrain", pretrain, "client pretrain clips/*.mp4 --name ours --consent-attested --wait"),
    ):
        add_command(group, name, function, example)
    client_account.register(group)
    app.add_typer(group, name="client")


def submit(
    client: Client,
    video: Annotated[Path, typer.Argument(help="The clip: one person talking to the camera, with sound.")],
    consent: Annotated[str | None, typer.Option(help="The id of the person's consent (`client consent`).")] = None,
    consent_attested: Annotated[
        bool, typer.Option("--consent-attested", help="In its place: the person in the clip agreed, or it is you.")
    ] = False,
    name: Annotated[str, typer.Option(help="What to call the identity.")] = "",
    profile: Annotated[str, typer.Option(help="draft, standard or paper.")] = "standard",
    umf: Annotated[str | None, typer.Option(help="A universal motion field of the server, or none.")] = None,
    start: Annotated[float, typer.Option(min=0, help="Seconds into the longest shot.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=3, max=60, help="How much of the shot to learn from.")] = 5.0,
    tag: TagOption = None,
    resume: Annotated[str | None, typer.Option(help="An upload of this clip that broke off: its id.")] = None,
    then_wait: WaitOption = False,
) -> Any:
    """Send a clip and ask for an avatar."""
    need_file(video)
    if consent is None and not consent_attested:
        raise UsageError(
            "consent_missing",
            "An avatar needs the consent of the person in the clip.",
            "Add --consent ID, or --consent-attested if you have it.",
        )
    identity = client.create_identity(
        upload(client, video, resume),
        consent=consent,
        consent_attested=consent_attested,
        name=name or video.stem,
        profile=profile,
        umf=umf,
        start_s=start,
        seconds=seconds,
        metadata=_tags(tag),
    )
    answer: dict[str, Any] = {"identity": identity.id, "job": identity.job}
    if then_wait:
        answer["state"] = wait(client, identity.job).state
    return answer


def status(client: Client, job: JobArgument) -> Any:
    """Say where a job is: state, stage, progress, time left, error, attempts."""
    return dict(client.job(job).raw)


def jobs(
    client: Client,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="adapt, render or pretrain.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
) -> Any:
    """List jobs, newest first."""
    found = []
    for job in client.jobs(state, kind):
        progress = f"{100 * job.progress:.0f} %"
        found.append({"job": job.id, "kind": job.kind, "state": job.state, "stage": job.stage, "progress": progress})
        if len(found) == limit:
            break
    return found


def wait_for(
    client: Client,
    job: JobArgument,
    timeout: Annotated[float | None, typer.Option(help="Give up waiting after so many seconds.")] = None,
) -> Any:
    """Wait for a job. Exit 0: it succeeded; 3: its input was refused; 1: anything else."""
    return dict(wait(client, job, timeout).raw)


def download(
    client: Client,
    thing: Annotated[str, typer.Argument(help="An identity (its bundle), a render (its video) or a batch (a zip).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")],
) -> Any:
    """Download a bundle, a video, or all videos of a batch."""
    if thing.startswith("rnd_"):
        client.download_render(thing, output)
    elif thing.startswith("bat_"):
        client.download_batch(thing, output)
    else:
        client.download_bundle(thing, output)
    return {"output": str(output)}


def render(
    client: Client,
    identity: Annotated[str, typer.Argument(help="An identity's id.")],
    audio: Annotated[list[Path], typer.Option("--audio", help="Speech; several make a batch.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for the videos.")],
    size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    background: Annotated[str | None, typer.Option(help="A colour, #rrggbb.")] = None,
    label: Annotated[bool, typer.Option(help="Burn the AI-generated label into the picture.")] = True,
) -> Any:
    """Render speech with an identity, wait, and download the videos."""
    for path in audio:
        need_file(path)
    uploads = [upload(client, path) for path in audio]
    batch = client.create_batch(identity, uploads, size=size, background=background, label=label)
    made = []
    for path, item in zip(audio, batch.items, strict=True):
        if item.render is None:
            made.append({"audio": str(path), "error": item.error.code if item.error else "refused"})
            continue
        wait(client, item.render.job)
        target = output / f"{path.stem}.mp4"
        client.download_render(item.render.id, target)
        made.append({"render": item.render.id, "output": str(target), **(client.render(item.render.id).result or {})})
    return made


def cancel(client: Client, job: JobArgument) -> Any:
    """Ask a job to stop; it keeps its checkpoint."""
    return {"state": client.cancel(job).state}


def retry(client: Client, job: JobArgument) -> Any:
    """Let a failed, cancelled or expired job go on from the stage at which it stopped."""
    return {"state": client.retry(job).state}


def identities(client: Client, tag: TagOption = None) -> Any:
    """List identities, newest first; with --tag, those that carry all these marks."""
    return [
        {"identity": one.id, "name": one.name, "state": one.state, "job": one.job}
        for one in client.identities(_tags(tag))
    ]


def delete(client: Client, identity: Annotated[str, typer.Argument(help="An identity's id.")]) -> Any:
    """Delete an identity with its bundle, its videos and its clip."""
    client.delete_identity(identity)
    return {"deleted": identity}


def umfs(client: Client) -> Any:
    """List the universal motion fields that `submit --umf` takes."""
    return [{"name": name} for name in client.umfs()]


def pretrain(
    client: Client,
    clips: Annotated[list[Path], typer.Argument(help="Clips of many people; ID.mp4 and IDb.mp4 are one person.")],
    name: Annotated[str, typer.Option(help="What `submit --umf` will call it.")],
    consent_attested: Annotated[
        bool, typer.Option("--consent-attested", help="The people in the clips agreed to being learned from.")
    ] = False,
    iterations: Annotated[int, typer.Option(min=10, help="Steps of the regression.")] = 1500,
    then_wait: WaitOption = False,
) -> Any:
    """Send clips and train a motion field of your own on them."""
    for clip in clips:
        need_file(clip)
    if not consent_attested:
        raise UsageError(
            "consent_missing",
            "Training needs the consent of the people in the clips.",
            "Add --consent-attested if you have it.",
        )
    job = client.create_umf(name, [upload(client, clip) for clip in clips], iterations=iterations)
    answer = {"umf": name, "job": job.id}
    if then_wait:
        answer["state"] = wait(client, job.id).state
    return answer


def _tags(given: list[str] | None) -> dict[str, str]:
    return dict(one.partition("=")[::2] for one in given or ())
