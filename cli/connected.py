"""What all commands against a server share: its address and key, the way they answer, and the errors they end with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
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
    ForbiddenError,
    InputRejectedError,
    InvalidRequestError,
    Job,
    JobFailedError,
    NotFoundError,
    UnauthorizedError,
)

DEFAULT_URL = "http://127.0.0.1:8000"
_SHARED = {
    "server": (Annotated[str, typer.Option("--url", envvar="LIKENESS_URL", help="The server.")], DEFAULT_URL),
    "api_key": (Annotated[str, typer.Option("--api-key", envvar="LIKENESS_API_KEY", help="Your API key.")], ""),
    "json_output": (Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")], False),
}


def add_command(group: typer.Typer, name: str, function: Callable[..., Any], example: str) -> None:
    """Add `function` to the group, with the options that all of them have.

    Its first parameter is the client; what it returns is printed: an object or a list of objects, or None.
    """
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "client"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _SHARED.items()
    ]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        server, api_key, json_output = (values.pop(name) for name in _SHARED)
        with connected(server, api_key) as client:
            answer = function(client, **values)
        if answer is not None:
            show(answer, as_json=json_output)

    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    del command.__wrapped__
    group.command(name, epilog=f"Example: likeness {example}")(command)


@contextmanager
def connected(url: str, api_key: str) -> Iterator[Client]:
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
    except (InvalidRequestError, NotFoundError, UnauthorizedError, ForbiddenError) as error:
        raise UsageError(error.code, error.detail, error.hint) from error
    except ApiProblemError as error:
        raise LikenessError(error.code, error.detail, error.hint) from error
    except ClientError as error:
        raise LikenessError("server_unreachable", str(error), "Check LIKENESS_URL and that the server runs.") from error


def wait(client: Client, job_id: str, timeout_s: float | None = None) -> Job:
    """Wait for a job under a progress bar."""
    from cli.jobbar import JobBar

    with JobBar(job_id[:12]) as bar:
        return client.wait(job_id, on_progress=bar.show, timeout_s=timeout_s)


def upload(client: Client, path: Path, resume: str | None = None) -> str:
    """Send a file under a progress bar. Returns the upload's id."""
    from cli.jobbar import UploadBar

    need_file(path)
    with UploadBar(path.name) as bar:
        return client.upload(path, bar.show, resume=resume)


def need_file(path: Path) -> None:
    """Refuse a path that is no file, before anything is sent."""
    if not path.is_file():
        raise UsageError("file_not_found", f"There is no file {path.name}.", "Check the path.")


def show(value: Any, *, as_json: bool) -> None:
    """Print an object, or each object of a list. What has parts of its own is only in the JSON."""
    if as_json:
        print_json(value)
        return
    for item in value if isinstance(value, list) else [value]:
        for name, found in item.items():
            if isinstance(found, dict) and "message" in found:
                found = f"{found.get('code')}: {found['message']} {found.get('hint', '')}"
            if not isinstance(found, list | dict):
                stderr.print(f"{name:>14}  {found}", soft_wrap=True, markup=False)
