"""What the API answers, as frozen dataclasses. Fields that a newer server adds are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FINISHED_STATES = frozenset({"succeeded", "failed", "rejected", "cancelled", "expired"})


@dataclass(frozen=True)
class JobError:
    """Why a job ended badly."""

    code: str
    message: str
    hint: str
    retryable: bool


@dataclass(frozen=True)
class Job:
    """A job, as it was when it was read."""

    id: str
    kind: str
    subject: str
    state: str
    stage: str | None
    progress: float
    """0..1."""
    eta_s: float | None
    queue_position: int | None
    error: JobError | None
    stages: tuple[Mapping[str, Any], ...]
    attempts: tuple[Mapping[str, Any], ...]
    report: Mapping[str, Any] | None
    """What preprocessing found in an identity's clip: verdict, warnings with hints, measurements."""
    raw: Mapping[str, Any]
    """The whole answer."""

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in FINISHED_STATES

    @staticmethod
    def parse(body: Mapping[str, Any]) -> Job:
        """From the API's JSON."""
        return Job(
            id=body["id"],
            kind=body["kind"],
            subject=body["subject"],
            state=body["state"],
            stage=body["stage"],
            progress=body["progress"],
            eta_s=body["eta_s"],
            queue_position=body["queue_position"],
            error=_error(body["error"]),
            stages=tuple(body["stages"]),
            attempts=tuple(body["attempts"]),
            report=body.get("report"),
            raw=body,
        )


@dataclass(frozen=True)
class File:
    """Something to download."""

    url: str
    size: int
    sha256: str

    @staticmethod
    def parse(body: Mapping[str, Any] | None) -> File | None:
        """From the API's JSON."""
        return File(body["url"], body["size"], body["sha256"]) if body else None


@dataclass(frozen=True)
class Identity:
    """A person's avatar, or one in the making."""

    id: str
    name: str
    state: str
    profile: str
    job: str
    bundle: File | None
    raw: Mapping[str, Any]

    @staticmethod
    def parse(body: Mapping[str, Any]) -> Identity:
        """From the API's JSON."""
        bundle = File.parse(body["bundle"])
        return Identity(body["id"], body["name"], body["state"], body["profile"], body["job"], bundle, body)


@dataclass(frozen=True)
class Render:
    """A video of an identity that speaks, or one in the making."""

    id: str
    identity: str
    batch: str | None
    state: str
    job: str
    output: File | None
    result: Mapping[str, Any] | None
    raw: Mapping[str, Any]

    @staticmethod
    def parse(body: Mapping[str, Any]) -> Render:
        """From the API's JSON."""
        return Render(
            id=body["id"],
            identity=body["identity"],
            batch=body["batch"],
            state=body["state"],
            job=body["job"],
            output=File.parse(body["output"]),
            result=body["result"],
            raw=body,
        )


@dataclass(frozen=True)
class BatchItem:
    """What became of one item of a batch: a render, or why there is none."""

    render: Render | None
    error: JobError | None


@dataclass(frozen=True)
class RenderBatch:
    """Many renders."""

    id: str
    state: str
    items: tuple[BatchItem, ...]
    """In the order in which they were asked for."""

    @property
    def renders(self) -> tuple[Render, ...]:
        """Those that were accepted."""
        return tuple(item.render for item in self.items if item.render is not None)

    @staticmethod
    def parse(body: Mapping[str, Any]) -> RenderBatch:
        """From the API's JSON."""
        items = tuple(
            BatchItem(
                Render.parse(item["render"]) if item["render"] else None,
                _error(item["error"]),
            )
            for item in body["items"]
        )
        return RenderBatch(body["id"], body["state"], items)


@dataclass(frozen=True)
class Consent:
    """A person's consent."""

    id: str
    subject: str
    state: str
    """`pending`, `verified`, `rejected`, `revoked` or `expired`."""
    phrase: str | None
    """What the person is to say in the evidence, while that is awaited."""
    raw: Mapping[str, Any]

    @staticmethod
    def parse(body: Mapping[str, Any]) -> Consent:
        """From the API's JSON."""
        challenge = body["challenge"]
        return Consent(body["id"], body["subject"], body["state"], challenge["phrase"] if challenge else None, body)


@dataclass(frozen=True)
class WebhookEndpoint:
    """Where job events are sent to."""

    id: str
    url: str
    events: tuple[str, ...]
    """Empty: all of them."""
    enabled: bool
    secret: str | None
    """For `verify_webhook`; shown when the endpoint is made or its secret rotated, else None."""
    raw: Mapping[str, Any]

    @staticmethod
    def parse(body: Mapping[str, Any]) -> WebhookEndpoint:
        """From the API's JSON."""
        return WebhookEndpoint(
            body["id"], body["url"], tuple(body["events"]), body["enabled"], body.get("secret"), body
        )


@dataclass(frozen=True)
class Delivery:
    """One message to one endpoint."""

    id: str
    endpoint: str
    type: str
    state: str
    """`pending`, `delivered` or `failed`."""
    attempts: tuple[Mapping[str, Any], ...]
    raw: Mapping[str, Any]

    @staticmethod
    def parse(body: Mapping[str, Any]) -> Delivery:
        """From the API's JSON."""
        return Delivery(body["id"], body["endpoint"], body["type"], body["state"], tuple(body["attempts"]), body)


@dataclass(frozen=True)
class Event:
    """One event of a job."""

    id: int
    type: str
    data: Mapping[str, Any]


def _error(body: Mapping[str, Any] | None) -> JobError | None:
    return JobError(body["code"], body["message"], body["hint"], body["retryable"]) if body else None
