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
    raw: Mapping[str, Any]
    """The whole answer."""

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in FINISHED_STATES

    @staticmethod
    def parse(body: Mapping[str, Any]) -> Job:
        """From the API's JSON."""
        error = body["error"]
        return Job(
            id=body["id"],
            kind=body["kind"],
            subject=body["subject"],
            state=body["state"],
            stage=body["stage"],
            progress=body["progress"],
            eta_s=body["eta_s"],
            queue_position=body["queue_position"],
            error=JobError(error["code"], error["message"], error["hint"], error["retryable"]) if error else None,
            stages=tuple(body["stages"]),
            attempts=tuple(body["attempts"]),
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
class RenderBatch:
    """Many renders, in the order in which they were asked for."""

    id: str
    state: str
    renders: tuple[Render, ...]

    @staticmethod
    def parse(body: Mapping[str, Any]) -> RenderBatch:
        """From the API's JSON."""
        return RenderBatch(body["id"], body["state"], tuple(Render.parse(item) for item in body["renders"]))


@dataclass(frozen=True)
class Event:
    """One event of a job."""

    id: int
    type: str
    data: Mapping[str, Any]
