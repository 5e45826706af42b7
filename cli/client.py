"""`likeness client`: the same jobs against a server. LIKENESS_URL and LIKENESS_API_KEY say which, and as whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import print_json, stderr
from core.errors import InputRefusedError, LikenessError, UsageError
from likeness_client import (
    ApiProblemError,
    Client,
    ClientError,
    InputRejectedError,
    InvalidRequestError,
    Job,
    JobFailedError,
    NotFoundError,
    UnauthorizedError,
)

UrlOption = Annotated[str, typer.Option("--url", envvar="LIKENESS_URL", help="The server.")]
KeyOption = Annotated[str, typer.Option("--api-key", envvar="LIKENESS_API_KEY", help="Your API key.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")]
DEFAULT_URL = "http://127.0.0.1:8000"


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="The same jobs against a server (LIKENESS_URL, LIKENESS_API_KEY).")
    for command in (submit, status, wait, download, render, cancel, retry):
        group.command()(command)
    app.add_typer(group, name="client")


def submit(
    video: Annotated[Path, typer.Argument(help="The clip: one person talking to the camera, with sound.")],
    consent_attested: Annotated[
        bool, typer.Option("--consent-attested", help="The person in the clip agreed to this avatar.")
    ] = False,
    name: Annotated[str, typer.Option(help="What to call the identity.")] = "",
    profile: Annotated[str, typer.Option(help="draft, standard or paper.")] = "standard",
    umf: Annotated[str | None, typer.Option(help="A universal motion field of the server, or none.")] = None,
    start: Annotated[float, typer.Option(min=0, help="Seconds into the longest shot.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=3, max=60, help="How much of the shot to learn from.")] = 5.0,
    then_wait: WaitOption = False,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = "",
    json_output: JsonOption = False,
) -> None:
    """Send a clip and ask for an avatar."""
    _need_file(video)
    if not consent_attested:
        raise UsageError(
            "consent_missing",
            "An avatar needs the consent of the person in the clip.",
            "Add --consent-attested if you have it.",
        )
    with _connected(url, api_key) as client:
        identity = client.create_identity(
            client.upload(video),
            consent_attested=True,
            name=name or video.stem,
            profile=profile,
            umf=umf,
            start_s=start,
            seconds=seconds,
        )
        answer: dict[str, Any] = {"identity": identity.id, "job": identity.job}
        if then_wait:
            answer["state"] = _wait(client, identity.job).state
    _answer(answer, json_output)


def status(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = "",
    json_output: JsonOption = False,
) -> None:
    """Say where a job is: state, stage, progress, time left, error."""
    with _connected(url, api_key) as client:
        found = client.job(job)
    if json_output:
        print_json(dict(found.raw))
        return
    _answer(
        {
            "state": found.state,
            "stage": found.stage,
            "progress": f"{100 * found.progress:.0f} %",
            "seconds left": found.eta_s,
            "error": found.error and f"{found.error.code}: {found.error.message} {found.error.hint}",
        },
        as_json=False,
    )


def wait(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    timeout: Annotated[float | None, typer.Option(help="Give up waiting after so many seconds.")] = None,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = "",
    json_output: JsonOption = False,
) -> None:
    """Wait for a job. Exit 0: it succeeded; 3: its input was refused; 1: anything else."""
    with _connected(url, api_key) as client:
        found = _wait(client, job, timeout)
    if json_output:
        print_json(dict(found.raw))


def download(
    thing: Annotated[str, typer.Argument(help="The id of an identity (its bundle) or a render (its video).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")],
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = "",
    json_output: JsonOption = False,
) -> None:
    """Download a bundle or a video."""
    with _connected(url, api_key) as client:
        if thing.startswith("rnd_"):
            client.download_render(thing, output)
        else:
            client.download_bundle(thing, output)
    _answer({"output": str(output)}, json_output)


def render(
    identity: Annotated[str, typer.Argument(help="An identity's id.")],
    audio: Annotated[list[Path], typer.Option("--audio", help="Speech; several make a batch.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for the videos.")],
    size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    background: Annotated[str | None, typer.Option(help="A colour, #rrggbb.")] = None,
    label: Annotated[bool, typer.Option(help="Burn the AI-generated label into the picture.")] = True,
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = "",
    json_output: JsonOption = False,
) -> None:
    """Render speech with an identity, wait, and download the videos."""
    for path in audio:
        _need_file(path)
    with _connected(url, api_key) as client:
        uploads = [client.upload(path) for path in audio]
        batch = client.create_batch(identity, uploads, size=size, background=background, label=label)
        made = []
        for path, item in zip(audio, batch.renders, strict=True):
            _wait(client, item.job)
            target = output / f"{path.stem}.mp4"
            client.download_render(item.id, target)
            made.append({"render": item.id, "output": str(target), **(client.render(item.id).result or {})})
    _answer(made, json_output)


def cancel(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = "",
    json_output: JsonOption = False,
) -> None:
    """Ask a job to stop; it keeps its checkpoint."""
    with _connected(url, api_key) as client:
        _answer({"state": client.cancel(job).state}, json_output)


def retry(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    url: UrlOption = DEFAULT_URL,
    api_key: KeyOption = "",
    json_output: JsonOption = False,
) -> None:
    """Let a failed, cancelled or expired job go on from the stage at which it stopped."""
    with _connected(url, api_key) as client:
        _answer({"state": client.retry(job).state}, json_output)


@contextmanager
def _connected(url: str, api_key: str) -> Iterator[Client]:
    """A client whose errors are the command line's errors."""
    if not api_key:
        raise UsageError(
            "api_key_missing", "No API key was given.", "Set LIKENESS_API_KEY; `likeness serve` prints it."
        )
    try:
        with Client(url, api_key) as client:
            yield client
    except InputRejectedError as error:
        raise InputRefusedError(error.code, error.message, error.hint) from error
    except JobFailedError as error:
        raise LikenessError(error.code, error.message, error.hint) from error
    except (InvalidRequestError, NotFoundError, UnauthorizedError) as error:
        raise UsageError(error.code, error.detail, error.hint) from error
    except ApiProblemError as error:
        raise LikenessError(error.code, error.detail, error.hint) from error
    except ClientError as error:
        raise LikenessError("server_unreachable", str(error), "Check LIKENESS_URL and that the server runs.") from error


def _wait(client: Client, job_id: str, timeout_s: float | None = None) -> Job:
    from cli.jobbar import JobBar

    with JobBar(job_id[:12]) as bar:
        return client.wait(job_id, on_progress=bar.show, timeout_s=timeout_s)


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError("file_not_found", f"There is no file {path.name}.", "Check the path.")


def _answer(value: Any, as_json: bool) -> None:
    if as_json:
        print_json(value)
        return
    for item in value if isinstance(value, list) else [value]:
        for name, found in item.items():
            stderr.print(f"{name:>14}  {found}", soft_wrap=True, markup=False)
