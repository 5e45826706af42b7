"""A small typed client of the Likeness API. It needs httpx and nothing else.

    with Client("http://127.0.0.1:8000", key) as client:
        made = client.create_identity(client.upload(Path("me.mp4")), consent_attested=True)
        client.wait(made.job, on_progress=print)
        client.download_bundle(made.id, Path("me.likeness"))

Calls that create carry an Idempotency-Key, so that a call repeated after a lost answer creates nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from likeness_client.errors import (
    ClientError,
    InputRejectedError,
    JobFailedError,
    ServerUnreachableError,
    WaitTimeoutError,
    problem_error,
)
from likeness_client.models import Event, File, Identity, Job, Render, RenderBatch

TRIES = 5
FIRST_PAUSE_SECONDS = 0.3
RETRY_STATUSES = frozenset({429, 502, 503, 504})
CHUNK = 1 << 20
_TYPES = {
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "video/webm",
}


class Client:
    """Talks to one server with one API key. Not to be shared between threads."""

    def __init__(self, url: str, api_key: str, *, timeout_s: float = 30.0) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"), headers={"Authorization": f"Bearer {api_key}"}, timeout=timeout_s
        )
        self._files = httpx.Client(timeout=timeout_s)  # for targets of uploads: they must not be told the key

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._files.close()

    def upload(
        self, path: Path, on_progress: Callable[[float], None] | None = None, *, resume: str | None = None
    ) -> str:
        """Send a file, streamed; a large one in parts. Returns the upload's id.

        Args:
            path: a video or audio file.
            on_progress: called with the fraction sent, 0..1.
            resume: an upload of the same file that was broken off: parts that arrived are not sent again.
        """
        if resume is not None:
            made = self._get(f"/v1/uploads/{resume}")
        else:
            size, digest = path.stat().st_size, _sha256(path)
            body = {"filename": path.name, "content_type": _content_type(path), "size": size, "sha256": digest}
            made = self._create("/v1/uploads", body)
        whole = [{**made["put"], "offset": 0, "size": made["size"], "stored": False}] if made["put"] else []
        sent = 0
        for piece in made["parts"] or whole:
            if not piece["stored"]:
                self._send(path, piece, sent, made["size"], on_progress)
            sent += piece["size"]
            if on_progress is not None and made["size"]:
                on_progress(sent / made["size"])
        self._call("POST", f"/v1/uploads/{made['id']}/complete")
        return str(made["id"])

    def _send(
        self,
        path: Path,
        piece: Mapping[str, Any],
        sent: int,
        size: int,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        """PUT `size` bytes of the file from `offset` to the target, which may be on another server."""

        def chunks() -> Iterator[bytes]:
            left = piece["size"]
            with path.open("rb") as file:
                file.seek(piece["offset"])
                while left and (chunk := file.read(min(CHUNK, left))):
                    yield chunk
                    left -= len(chunk)
                    if on_progress is not None:
                        on_progress((sent + piece["size"] - left) / size)

        headers = {**piece["headers"], "Content-Length": str(piece["size"])}
        url = self._http.base_url.join(piece["url"])
        self._call(piece["method"], str(url), stream=chunks, headers=headers, http=self._files)

    def create_identity(
        self,
        upload: str,
        *,
        consent_attested: bool,
        name: str = "identity",
        profile: str = "standard",
        umf: str | None = None,
        start_s: float = 0.0,
        seconds: float = 5.0,
    ) -> Identity:
        """Ask for an avatar of the person in an uploaded video.

        Args:
            upload: the video's upload id.
            consent_attested: you attest that the person agreed; the server makes nothing without it.
            name: for people.
            profile: `draft`, `standard` or `paper`.
            umf: a universal motion field of the server, or `none`; None leaves the choice to the server.
            start_s: seconds into the longest shot.
            seconds: how much of the shot to learn from.
        """
        body = {
            "upload": upload,
            "consent_attested": consent_attested,
            "name": name,
            "profile": profile,
            "start_s": start_s,
            "seconds": seconds,
            **({"umf": umf} if umf is not None else {}),
        }
        return Identity.parse(self._create("/v1/identities", body)["identity"])

    def identity(self, identity_id: str) -> Identity:
        """One identity."""
        return Identity.parse(self._get(f"/v1/identities/{identity_id}"))

    def identities(self) -> Iterator[Identity]:
        """All identities, newest first."""
        return (Identity.parse(item) for item in self._pages("/v1/identities"))

    def delete_identity(self, identity_id: str) -> None:
        """Delete an identity with its bundle, renders and video."""
        self._call("DELETE", f"/v1/identities/{identity_id}")

    def download_bundle(self, identity_id: str, destination: Path) -> None:
        """Write the identity's bundle to `destination`, whole or not at all."""
        self._download(self.identity(identity_id).bundle, f"/v1/identities/{identity_id}/bundle", destination)

    def create_render(self, identity: str, upload: str, **options: Any) -> Render:
        """Ask for a video. Options: `size`, `background`, `label` (see POST /v1/renders)."""
        body = {"identity": identity, "upload": upload, **options}
        return Render.parse(self._create("/v1/renders", body)["render"])

    def create_batch(self, identity: str, uploads: Sequence[str], **options: Any) -> RenderBatch:
        """Ask for a video of each uploaded speech, all with the same options; all are accepted, or none."""
        return self.create_batch_of(identity, [{"upload": upload, **options} for upload in uploads])

    def create_batch_of(self, identity: str, items: Sequence[Mapping[str, Any]]) -> RenderBatch:
        """Ask for many videos; each item has an `upload` and its own options. All are accepted, or none."""
        body = {"items": [{"identity": identity, **item} for item in items]}
        return RenderBatch.parse(self._create("/v1/render-batches", body))

    def render(self, render_id: str) -> Render:
        """One render."""
        return Render.parse(self._get(f"/v1/renders/{render_id}"))

    def batch(self, batch_id: str) -> RenderBatch:
        """One batch with its renders."""
        return RenderBatch.parse(self._get(f"/v1/render-batches/{batch_id}"))

    def download_render(self, render_id: str, destination: Path) -> None:
        """Write the render's video to `destination`, whole or not at all."""
        self._download(self.render(render_id).output, f"/v1/renders/{render_id}/output", destination)

    def job(self, job_id: str) -> Job:
        """One job."""
        return Job.parse(self._get(f"/v1/jobs/{job_id}"))

    def jobs(self) -> Iterator[Job]:
        """All jobs, newest first, without their attempts."""
        return (Job.parse(item) for item in self._pages("/v1/jobs"))

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop."""
        return Job.parse(self._call("POST", f"/v1/jobs/{job_id}/cancel").json())

    def retry(self, job_id: str) -> Job:
        """Let a failed, cancelled or expired job go on from the stage at which it stopped."""
        return Job.parse(self._call("POST", f"/v1/jobs/{job_id}/retry").json())

    def umfs(self) -> list[str]:
        """The names of the server's universal motion fields."""
        return [item["name"] for item in self._get("/v1/umfs")["items"]]

    def wait(
        self,
        job_id: str,
        *,
        on_progress: Callable[[Job], object] | None = None,
        poll_s: float = 1.0,
        timeout_s: float | None = None,
    ) -> Job:
        """Wait until the job has succeeded. Returns it.

        Args:
            job_id: the job.
            on_progress: called with the job at each poll.
            poll_s: seconds between two polls.
            timeout_s: give up waiting (not the job) after so long.

        Raises:
            InputRejectedError: the media can't be used.
            JobFailedError: the job failed, was cancelled, or expired.
            WaitTimeoutError: it still runs.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            job = self.job(job_id)
            if on_progress is not None:
                on_progress(job)
            if job.finished:
                return _succeeded(job)
            if until is not None and time.monotonic() > until:
                raise WaitTimeoutError(f"job {job_id} is still {job.state} after {timeout_s} s")
            time.sleep(poll_s)

    def events(self, job_id: str, last_event_id: int = 0) -> Iterator[Event]:
        """The job's events, past and coming, until the job ends. A broken stream is taken up again where it broke."""
        finished = False
        while not finished:
            # A stream may end by itself (the server limits its life): only one begun after the job's end has it all.
            finished = self.job(job_id).finished
            headers = {"Last-Event-ID": str(last_event_id)}
            try:
                with self._http.stream(
                    "GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=httpx.Timeout(30.0, read=60.0)
                ) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        _check(answer)
                    for line in answer.iter_lines():
                        if line.startswith("data: "):
                            data = json.loads(line.removeprefix("data: "))
                            last_event_id = data["id"]
                            yield Event(data["id"], data["type"], data)
            except httpx.TransportError:
                finished = False
                time.sleep(FIRST_PAUSE_SECONDS)

    def _get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        return self._call("GET", path, params=params).json()

    def _create(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex}).json()

    def _pages(self, path: str) -> Iterator[Any]:
        cursor: str | None = None
        while True:
            page = self._get(path, {"limit": 100, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _call(
        self,
        method: str,
        path: str,
        *,
        stream: Callable[[], Iterator[bytes]] | None = None,
        http: httpx.Client | None = None,
        **options: Any,
    ) -> httpx.Response:
        """One call, tried again while the server is away. Every call of this client may be repeated."""
        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(TRIES)):
            if stream is not None:
                options["content"] = stream()
            try:
                answer = (http or self._http).request(method, path, **options)
            except httpx.TransportError as error:
                if left == 0:
                    raise ServerUnreachableError(f"no answer from {self._http.base_url}: {error}") from error
            else:
                if answer.status_code not in RETRY_STATUSES or left == 0:
                    return _check(answer)
            time.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads callers, guards nothing
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _download(self, file: File | None, path: str, destination: Path) -> None:
        partial = destination.with_name(destination.name + ".partial")
        destination.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        try:
            # The answer is a link to another server, perhaps; httpx does not send the key there.
            with self._http.stream("GET", path, follow_redirects=True) as answer:
                if answer.status_code != 200:
                    answer.read()
                    _check(answer)
                with partial.open("wb") as writer:
                    for chunk in answer.iter_bytes(CHUNK):
                        digest.update(chunk)
                        writer.write(chunk)
            if file is None or digest.hexdigest() != file.sha256:
                raise ClientError("the download does not have the sha256 that the server named")
            partial.replace(destination)
        except httpx.TransportError as error:
            raise ServerUnreachableError(f"the download broke off: {error}") from error
        finally:
            partial.unlink(missing_ok=True)


def _check(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        body = answer.json()
    except ValueError:
        body = {"detail": answer.text[:200]}
    raise problem_error(answer.status_code, body if isinstance(body, dict) else {})


def _succeeded(job: Job) -> Job:
    if job.state == "succeeded":
        return job
    kind = InputRejectedError if job.state == "rejected" else JobFailedError
    if job.error is None:
        raise kind(job.id, job.state, job.state, f"The job is {job.state}.", "Retry it, or submit a new one.")
    raise kind(job.id, job.state, job.error.code, job.error.message, job.error.hint)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content_type(path: Path) -> str:
    return _TYPES.get(path.suffix.lower(), "application/octet-stream")
