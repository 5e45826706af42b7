"""Settings of the platform, from the environment (`LIKENESS_...`), with defaults that need no server to be installed.

Production mode refuses what is only safe on one's own machine. This file opens nothing and starts nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import UsageError

MIN_SECRET_LENGTH = 32


class Settings(BaseSettings):
    """What the API, the relay, the reaper and the workers must agree on."""

    model_config = SettingsConfigDict(env_prefix="LIKENESS_", extra="ignore", frozen=True)

    mode: Literal["embedded", "production"] = "embedded"
    """`embedded`: SQLite, a folder and the file-system broker. `production`: servers, and no insecure default."""
    data_dir: Path = Path("likeness-data")
    """Database, objects, messages, work folders and logs of the embedded form; work folders of a worker."""
    database_url: str = ""
    """SQLAlchemy URL; empty: a SQLite file in `data_dir`."""
    broker_url: str = ""
    """Celery broker URL; empty: files in a private folder of `data_dir`."""
    s3_bucket: str = ""
    """Bucket of the objects; empty: a folder in `data_dir`."""
    s3_endpoint: str = ""
    """URL of the S3 server, as this process reaches it; empty: Amazon's own."""
    s3_public_endpoint: str = ""
    """URL of the same server as callers reach it, for the links that they are given; empty: `s3_endpoint`."""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    """Empty, with `s3_secret_key`: boto3's own ways to find credentials."""
    s3_secret_key: SecretStr = SecretStr("")
    storage_patience_seconds: float = Field(default=60.0, gt=0)
    """How long a worker tries a call while the object store is busy or away."""
    link_seconds: float = Field(default=900.0, ge=1, le=7 * 24 * 3600)
    """Life of a download link."""
    upload_link_seconds: float = Field(default=3600.0, ge=1, le=7 * 24 * 3600)
    """Life of an upload target; asking for the upload again gives fresh ones."""
    part_bytes: int = Field(default=64 << 20, ge=1)
    """A larger upload comes in parts of so many bytes. S3 wants 5 MiB at least, and 10,000 parts at most."""
    upload_hours: float = Field(default=24.0, gt=0)
    """An upload that is not complete after so long is dropped."""
    orphan_hours: float = Field(default=48.0, gt=0)
    """An object that nothing points at is deleted after so long."""
    secret_key: SecretStr = SecretStr("")
    """Key of the HMAC under which API keys are stored; empty: made on first start and kept in `data_dir` (embedded)."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)

    lease_seconds: float = Field(default=60.0, gt=0)
    """How long a silent worker keeps its stage. Longer than any time that native code may hold the interpreter."""
    heartbeat_seconds: float = Field(default=2.0, gt=0)
    """How often a worker renews the lease, writes progress and reads the cancel flag."""
    reaper_seconds: float = Field(default=1.0, gt=0)
    relay_seconds: float = Field(default=0.2, gt=0)
    rehint_seconds: float = Field(default=30.0, gt=0)
    """A stage still queued this long after its message gets another one (a worker may have died holding it)."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts of a stage before it is a dead letter."""

    otlp_endpoint: str = ""
    """Base URL of a collector that takes OpenTelemetry traces over HTTP; empty: no traces."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of a worker's Prometheus metrics, on `metrics_host`; 0: none. The API has `/metrics`."""
    metrics_host: str = "127.0.0.1"

    worker_concurrency: int = Field(default=1, ge=1)
    worker_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Threads that one worker process may compute with."""
    worker_stages_per_process: int = Field(default=16, ge=1)
    """A pool process is replaced after so many stages, which gives its memory back. 1 where a worker uses CUDA."""
    worker_memory_mb: int = Field(default=0, ge=0)
    """A stage whose process holds more memory of its own ends with `out_of_memory`; 0: no limit."""
    worker_cpu_seconds: float = Field(default=0.0, ge=0)
    """A stage that has computed for longer ends with `cpu_time_exceeded`; 0: no limit."""
    worker_stop_seconds: float = Field(default=5.0, gt=0)
    """How long a stopping worker waits for its stage to write a checkpoint; then the stage is handed back as it is.
    Some seconds less than what stops the worker by force: the supervisor (6 s), or a container's grace."""
    worker_silent_seconds: float = Field(default=120.0, gt=0)
    """A worker that claimed nothing for so long while work waited for it is not well (`likeness worker --check`)."""
    retry_seconds: float = Field(default=5.0, ge=0)
    """Pause before a stage that failed for a passing reason is tried again; doubles with each attempt."""
    checkpoint_seconds: float = Field(default=180.0, gt=0)
    """How often a running stage's checkpoint is copied to the object store."""
    keep_results_seconds: float = Field(default=3600.0, ge=0)
    """How long what a stage made is kept for jobs that would make it again."""
    segment_seconds: float = Field(default=60.0, gt=0)
    """Length of the parts in which a long speech is rendered."""

    max_upload_bytes: int = Field(default=1_000_000_000, ge=1)
    max_batch_items: int = Field(default=100, ge=1)
    event_stream_seconds: float = Field(default=600.0, gt=0)
    """Life of one event stream; the reader goes on with Last-Event-ID."""
    event_poll_seconds: float = Field(default=0.5, gt=0)
    max_event_streams: int = Field(default=1000, ge=1)
    """Streams that one API process keeps open: they share one poller, each costs some memory."""

    consent_policy: Literal["", "attestation", "evidence"] = ""
    """What makes a consent valid: the caller's word, or judged evidence. Empty: by mode, evidence in production."""
    key_cache_seconds: float = Field(default=5.0, ge=0)
    """How long an API process believes what it read about a key: a key revoked elsewhere works for so long."""
    rate_reads_per_minute: int = Field(default=60_000, ge=0)
    rate_writes_per_minute: int = Field(default=3_000, ge=0)
    """Calls of one tenant; so many may come at once. 0: no limit."""
    quota_stored_bytes: int | None = Field(default=None, ge=0)
    quota_video_seconds: float | None = Field(default=None, ge=0)
    quota_live_jobs: int | None = Field(default=None, ge=0)
    """What a tenant without a quota of its own may use: bytes, seconds of video in 30 days, waiting or running jobs."""

    webhook_seconds: float = Field(default=1.0, gt=0)
    """How often messages that are due are looked for."""
    webhook_timeout_seconds: float = Field(default=10.0, gt=0)
    webhook_allow_private: bool = False
    """Let webhooks go to http URLs and to addresses that are not public. For tests and closed networks only."""

    @model_validator(mode="after")
    def _refuse_insecure_production(self) -> Settings:
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            raise ValueError("LIKENESS_LEASE_SECONDS must be at least three times LIKENESS_HEARTBEAT_SECONDS")
        if self.mode == "production":
            if len(self.secret_key.get_secret_value()) < MIN_SECRET_LENGTH:
                raise ValueError(f"LIKENESS_SECRET_KEY must have at least {MIN_SECRET_LENGTH} characters in production")
            if not self.database_url or self.database_url.startswith("sqlite"):
                raise ValueError("LIKENESS_DATABASE_URL must name a database server in production")
            if not self.broker_url or self.broker_url.startswith(("filesystem", "memory")):
                raise ValueError("LIKENESS_BROKER_URL must name a message broker in production")
        return self

    @property
    def needs_evidence(self) -> bool:
        """Whether a consent is valid only once its evidence has been judged."""
        policy = self.consent_policy or ("evidence" if self.mode == "production" else "attestation")
        return policy == "evidence"

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'likeness.sqlite3'}"

    @property
    def objects_dir(self) -> Path:
        """Folder of the local object store."""
        return self.data_dir.absolute() / "objects"

    @property
    def broker_dir(self) -> Path:
        """Private folder of the file-system broker: messages in it are trusted."""
        return self.data_dir.absolute() / "broker"

    @property
    def work_dir(self) -> Path:
        """Work folders of running jobs, with their checkpoints."""
        return self.data_dir.absolute() / "work"

    @property
    def umf_dir(self) -> Path:
        """Universal motion fields that the operator offers: `NAME.safetensors`."""
        return self.data_dir.absolute() / "umfs"

    @property
    def run_dir(self) -> Path:
        """Stop flags and locks of running processes."""
        return self.data_dir.absolute() / "run"

    @property
    def logs_dir(self) -> Path:
        """Log files of supervised workers."""
        return self.data_dir.absolute() / "logs"


class OwnModels(BaseSettings):
    """Model files that a user brings (docs/models.md); what is unset is done with what ships with Likeness."""

    model_config = SettingsConfigDict(env_prefix="LIKENESS_", env_ignore_empty=True, extra="ignore", frozen=True)

    sapiens_depth: Path | None = None
    """TorchScript of Sapiens' relative depth; with `sapiens_normal`."""
    sapiens_normal: Path | None = None
    """TorchScript of Sapiens' surface normals; with `sapiens_depth`."""
    parsing_model: Path | None = None
    """TorchScript of a segmentation network; unset: our own parsing."""
    parsing_classes: Literal["bisenet", "segformer", "sapiens"] = "bisenet"
    """Whose classes the network has."""
    speech_features: Literal["whisper", "log-mel", "wav2vec2", "hubert", "deepspeech"] = "whisper"
    """What motion fields hear. All but Whisper's need a projection, and a motion field, of their own."""
    speech_model: Path | None = None
    """For the last three: a TorchScript file; for `wav2vec2` and `hubert` also a folder that transformers reads."""
    speech_projection: Path | None = None
    """safetensors of `core.clip.fit_speech_projection`, for all but Whisper's."""

    syncnet: Path | None = None
    """SyncNet's published weights, for `likeness evaluate`; unset: its figures are left out."""

    @model_validator(mode="after")
    def _refuse_halves(self) -> OwnModels:
        if (self.sapiens_depth is None) != (self.sapiens_normal is None):
            raise ValueError("LIKENESS_SAPIENS_DEPTH and LIKENESS_SAPIENS_NORMAL are set together")
        if self.speech_features not in ("whisper", "log-mel") and self.speech_model is None:
            raise ValueError(f"LIKENESS_SPEECH_FEATURES={self.speech_features} needs LIKENESS_SPEECH_MODEL")
        return self


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, with some given by the caller.

    Raises:
        UsageError: `bad_settings`, a value is malformed or not allowed in production.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise _bad_settings(error, "docs/platform.md") from error


def load_own_models(**overrides: object) -> OwnModels:
    """Which models a user brings, from the environment, with some given by the caller.

    Raises:
        UsageError: `bad_settings`.
    """
    try:
        return OwnModels(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise _bad_settings(error, "docs/models.md") from error


def _bad_settings(error: ValidationError, page: str) -> UsageError:
    reasons = "; ".join(item["msg"] for item in error.errors(include_url=False, include_input=False))
    return UsageError("bad_settings", f"The settings can't be used: {reasons}.", f"See {page}.")
