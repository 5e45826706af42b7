"""A small typed client of the Likeness API. It needs httpx and nothing else.

    with Client("http://127.0.0.1:8000", key) as client:
        made = client.create_identity(client.upload(Path("me.mp4")), consent_attested=True)
        client.wait(made.job, on_progress=print)
        client.download_bundle(made.id, Path("me.likeness"))

Calls that create carry an Idempotency-Key, so that a call repeated after a lost answer creates nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from likeness_client import waiting
from likeness_client.connection import CHUNK, Connection
from likeness_client.models import Consent, Delivery, Event, Identity, Job, Render, RenderBatch, WebhookEndpoint

ATTESTED_PURPOSE = "An avatar of the person, as attested when it was asked for."
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
        self._connection = Connection(url, api_key, timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def upload(
        self, path: Path, on_progress: Callable[[float], None] | None = None, *, resume: str | None = None
    ) -> str:
        """Send a file, streamed; a large one in parts. Returns the upload's id.

        Args:
            path: a video or audio file.
            on_progress: called with the fraction sent, 0..1.
            resume: an upload of the same file that was broken off: parts that arrived are not sent again.
        """
        made = self._announce(path) if resume is None else self._connection.get(f"/v1/uploads/{resume}")
        whole = [{**made["put"], "offset": 0, "size": made["size"], "stored": False}] if made["put"] else []
        sent = 0
        for piece in made["parts"] or whole:
            if not piece["stored"]:
                self._send(path, piece, sent, made["size"], on_progress)
            sent += piece["size"]
            if on_progress is not None and made["size"]:
                on_progress(sent / made["size"])
        self._connection.call("POST", f"/v1/uploads/{made['id']}/complete")
        return str(made["id"])

    def create_upload(self, path: Path) -> str:
        """Announce a file, to be sent by `upload` with `resume`: whoever keeps this id can go on after anything."""
        return str(self._announce(path)["id"])

    def _announce(self, path: Path) -> Any:
        size, digest = path.stat().st_size, _sha256(path)
        body = {"filename": path.name, "content_type": _content_type(path), "size": size, "sha256": digest}
        return self._connection.create("/v1/uploads", body)

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
        url = self._connection.http.base_url.join(piece["url"])
        self._connection.call(piece["method"], str(url), stream=chunks, headers=headers, http=self._connection.files)

    def create_identity(
        self,
        upload: str,
        *,
        consent: str | None = None,
        consent_attested: bool = False,
        name: str = "identity",
        profile: str = "standard",
        umf: str | None = None,
        start_s: float = 0.0,
        seconds: float = 5.0,
        metadata: Mapping[str, str] | None = None,
    ) -> Identity:
        """Ask for an avatar of the person in an uploaded video.

        Args:
            upload: the video's upload id.
            consent: the id of the person's consent; the server makes nothing without one.
            consent_attested: in its place: you attest that the person agreed, and a consent is recorded that says so.
            name: for people.
            profile: `draft`, `standard` or `paper`.
            umf: a universal motion field of the server, or `none`; None leaves the choice to the server.
            start_s: seconds into the longest shot.
            seconds: how much of the shot to learn from.
            metadata: your own marks, by which `identities` can be filtered.
        """
        if consent is None and consent_attested:
            consent = self.create_consent(name, ATTESTED_PURPOSE, attested=True).id
        body = {
            "upload": upload,
            "consent": consent,
            "name": name,
            "profile": profile,
            "start_s": start_s,
            "seconds": seconds,
            "metadata": dict(metadata or {}),
            **({"umf": umf} if umf is not None else {}),
        }
        return Identity.parse(self._connection.create("/v1/identities", body)["identity"])

    def identity(self, identity_id: str) -> Identity:
        """One identity."""
        return Identity.parse(self._connection.get(f"/v1/identities/{identity_id}"))

    def identities(self, metadata: Mapping[str, str] | None = None) -> Iterator[Identity]:
        """All identities, newest first; with `metadata`, those that carry all these marks."""
        return (Identity.parse(item) for item in self._connection.pages("/v1/identities", _marks(metadata)))

    def delete_identity(self, identity_id: str) -> None:
        """Delete an identity with its bundle, renders and video."""
        self._connection.call("DELETE", f"/v1/identities/{identity_id}")

    def download_bundle(self, identity_id: str, destination: Path) -> None:
        """Write the identity's bundle to `destination`, whole or not at all."""
        file = self.identity(identity_id).bundle
        self._connection.download(f"/v1/identities/{identity_id}/bundle", destination, file)

    def create_render(self, identity: str, upload: str, **options: Any) -> Render:
        """Ask for a video. Options: `size`, `background`, `label` (see POST /v1/renders)."""
        body = {"identity": identity, "upload": upload, **options}
        return Render.parse(self._connection.create("/v1/renders", body)["render"])

    def create_batch(self, identity: str, uploads: Sequence[str], **options: Any) -> RenderBatch:
        """Ask for a video of each uploaded speech, all with the same options."""
        return self.create_batch_of(identity, [{"upload": upload, **options} for upload in uploads])

    def create_batch_of(self, identity: str, items: Sequence[Mapping[str, Any]]) -> RenderBatch:
        """Ask for many videos; each item has an `upload` and its own options. One that is refused stops no other."""
        body = {"items": [{"identity": identity, **item} for item in items]}
        return RenderBatch.parse(self._connection.create("/v1/render-batches", body))

    def render(self, render_id: str) -> Render:
        """One render."""
        return Render.parse(self._connection.get(f"/v1/renders/{render_id}"))

    def batch(self, batch_id: str) -> RenderBatch:
        """One batch with its renders."""
        return RenderBatch.parse(self._connection.get(f"/v1/render-batches/{batch_id}"))

    def renders(self, metadata: Mapping[str, str] | None = None) -> Iterator[Render]:
        """All renders, newest first; with `metadata`, those that carry all these marks."""
        return (Render.parse(item) for item in self._connection.pages("/v1/renders", _marks(metadata)))

    def download_batch(self, batch_id: str, destination: Path) -> None:
        """Write all videos of a batch that has ended to one zip, with a `manifest.json`."""
        self._connection.download(f"/v1/render-batches/{batch_id}/archive", destination)

    def download_render(self, render_id: str, destination: Path) -> None:
        """Write the render's video to `destination`, whole or not at all."""
        file = self.render(render_id).output
        self._connection.download(f"/v1/renders/{render_id}/output", destination, file)

    def job(self, job_id: str) -> Job:
        """One job."""
        return Job.parse(self._connection.get(f"/v1/jobs/{job_id}"))

    def jobs(self, state: str | None = None, kind: str | None = None) -> Iterator[Job]:
        """All jobs, newest first, without their attempts; with `state` or `kind`, only those."""
        wanted = {name: value for name, value in (("state", state), ("kind", kind)) if value is not None}
        return (Job.parse(item) for item in self._connection.pages("/v1/jobs", wanted))

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop."""
        return Job.parse(self._connection.call("POST", f"/v1/jobs/{job_id}/cancel").json())

    def retry(self, job_id: str) -> Job:
        """Let a failed, cancelled or expired job go on from the stage at which it stopped."""
        return Job.parse(self._connection.call("POST", f"/v1/jobs/{job_id}/retry").json())

    def umfs(self) -> list[str]:
        """The names of the server's universal motion fields."""
        return [item["name"] for item in self._connection.get("/v1/umfs")["items"]]

    def create_umf(self, name: str, uploads: Sequence[str], **options: Any) -> Job:
        """Train a motion field on uploaded clips of people who agreed to it. Options: `iterations`, `seed`."""
        body = {"name": name, "uploads": list(uploads), "consent_attested": True, **options}
        return Job.parse(self._connection.create("/v1/umfs", body)["job"])

    def create_consent(
        self,
        subject: str,
        purpose: str,
        *,
        attested: bool = False,
        statement: str | None = None,
        expires_in_s: float | None = None,
    ) -> Consent:
        """Record a person's consent.

        Args:
            subject: who agrees.
            purpose: what the avatar is for.
            attested: you attest that they agreed, or are them; whether that is enough, the server's operator decides.
            statement: what they agree to; None: the server's usual words.
            expires_in_s: it ends after so long.
        """
        body: dict[str, Any] = {"subject": subject, "purpose": purpose, "attested": attested}
        body |= {"statement": statement} if statement is not None else {}
        body |= {"expires_in_s": expires_in_s} if expires_in_s is not None else {}
        return Consent.parse(self._connection.create("/v1/consents", body))

    def consent(self, consent_id: str) -> Consent:
        """One consent, with what was made under it."""
        return Consent.parse(self._connection.get(f"/v1/consents/{consent_id}"))

    def consents(self) -> Iterator[Consent]:
        """All consents, newest first."""
        return (Consent.parse(item) for item in self._connection.pages("/v1/consents"))

    def new_challenge(self, consent_id: str) -> Consent:
        """Draw a new phrase."""
        return Consent.parse(self._connection.call("POST", f"/v1/consents/{consent_id}/challenge").json())

    def add_evidence(self, consent_id: str, upload: str) -> Consent:
        """Give the recording in which the person says the statement and the phrase."""
        path = f"/v1/consents/{consent_id}/evidence"
        return Consent.parse(self._connection.call("POST", path, json={"upload": upload}).json())

    def decide_consent(self, consent_id: str, *, verified: bool, reason: str = "") -> Consent:
        """Judge the evidence; the key needs the scope `review`."""
        body = {"verdict": "verified" if verified else "rejected", "reason": reason}
        return Consent.parse(self._connection.call("POST", f"/v1/consents/{consent_id}/decision", json=body).json())

    def revoke_consent(self, consent_id: str, reason: str = "") -> Consent:
        """Take a consent back: jobs stop, bundles and videos are removed for good."""
        path = f"/v1/consents/{consent_id}/revoke"
        return Consent.parse(self._connection.call("POST", path, json={"reason": reason}).json())

    def create_webhook(self, url: str, events: Sequence[str] = (), description: str = "") -> WebhookEndpoint:
        """Have job events sent to a URL. The answer, and no later one, has the `secret` for `verify_webhook`."""
        body = {"url": url, "events": list(events), "description": description}
        return WebhookEndpoint.parse(self._connection.create("/v1/webhook-endpoints", body))

    def webhooks(self) -> Iterator[WebhookEndpoint]:
        """All endpoints, newest first."""
        return (WebhookEndpoint.parse(item) for item in self._connection.pages("/v1/webhook-endpoints"))

    def change_webhook(self, endpoint_id: str, **changes: Any) -> WebhookEndpoint:
        """Change `url`, `events`, `description` or `enabled`."""
        path = f"/v1/webhook-endpoints/{endpoint_id}"
        return WebhookEndpoint.parse(self._connection.call("PATCH", path, json=changes).json())

    def rotate_webhook(self, endpoint_id: str) -> WebhookEndpoint:
        """Give an endpoint a new secret; for a day messages are signed with both."""
        path = f"/v1/webhook-endpoints/{endpoint_id}/rotate"
        return WebhookEndpoint.parse(self._connection.call("POST", path).json())

    def delete_webhook(self, endpoint_id: str) -> None:
        """Delete an endpoint and its deliveries."""
        self._connection.call("DELETE", f"/v1/webhook-endpoints/{endpoint_id}")

    def test_webhook(self, endpoint_id: str) -> Delivery:
        """Send a test message."""
        path = f"/v1/webhook-endpoints/{endpoint_id}/test"
        return Delivery.parse(self._connection.call("POST", path).json())

    def deliveries(self, endpoint_id: str | None = None) -> Iterator[Delivery]:
        """The log of messages, newest first."""
        wanted = {"endpoint": endpoint_id} if endpoint_id is not None else {}
        return (Delivery.parse(item) for item in self._connection.pages("/v1/deliveries", wanted))

    def delivery(self, delivery_id: str) -> Delivery:
        """One message, with its attempts."""
        return Delivery.parse(self._connection.get(f"/v1/deliveries/{delivery_id}"))

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send a message again."""
        return Delivery.parse(self._connection.call("POST", f"/v1/deliveries/{delivery_id}/redeliver").json())

    def usage(self, since: float | None = None, until: float | None = None) -> dict[str, Any]:
        """What was used between two times (seconds since 1970; by default the last 30 days), and the quotas."""
        wanted = {name: value for name, value in (("since", since), ("until", until)) if value is not None}
        return dict(self._connection.get("/v1/usage", wanted))

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
            on_progress: called with the job when something happened to it.
            poll_s: seconds between two calls of it, at least; without an event stream, between two polls.
            timeout_s: give up waiting (not the job) after so long.

        Raises:
            InputRejectedError: the media can't be used.
            JobFailedError: the job failed, was cancelled, or expired.
            WaitTimeoutError: it still runs.
        """
        return waiting.wait(self._connection, job_id, on_progress, poll_s, timeout_s)

    def events(self, job_id: str, last_event_id: int = 0) -> Iterator[Event]:
        """The job's events, past and coming, until the job ends. A broken stream is taken up again where it broke."""
        return waiting.events(self._connection, job_id, last_event_id)


def _marks(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    return {"metadata": [f"{name}:{value}" for name, value in (metadata or {}).items()]}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content_type(path: Path) -> str:
    return _TYPES.get(path.suffix.lower(), "application/octet-stream")
