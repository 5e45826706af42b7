"""The one wrapper around every stage: claim, fetch the inputs, run, put the artefacts, finish.

It adds no science. Work folders stay on this machine, so that the next attempt goes on from the checkpoint in them.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.orm import Session

from core.errors import CancelledError, InputRefusedError, LikenessError
from core.jobs import lease
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind
from core.jobs.lease import Claim, Directive, LeaseLostError
from core.jobs.publish import publish_bundle, publish_video
from core.jobs.steps import JobError
from core.progress import StageContext
from core.settings import Settings
from core.storage import ObjectStore
from workers.heartbeat import Heartbeat
from workers.pipeline import Pipeline
from workers.workfolder import work_folder


@dataclass(frozen=True)
class Artefact:
    """A stored result that is not visible yet."""

    key: str
    publish: Callable[[Session], bool]
    """Points the identity or render at it; False where that was deleted meanwhile."""


INTERNAL_ERROR = JobError(
    "internal_error", "The stage failed for a reason that is ours.", "The worker's log has the details; retry the job."
)
DISK_FULL = JobError("disk_full", "The worker's disk is full.", "Free some space, then retry the job.", retryable=True)

_log = structlog.get_logger(__name__)


class StageRunner:
    """Runs queued stages, one at a time, in this process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        store: ObjectStore,
        pipeline: Pipeline,
        owner: str,
        stop_requested: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._pipeline = pipeline
        self._owner = owner
        self._stop_requested = stop_requested

    def run_next(self, queues: Sequence[str]) -> bool:
        """Claim one stage of these queues and run it to its end. Returns False where there was nothing to claim."""
        if self._stop_requested():
            return False
        claim = lease.claim_next(self._database, queues, self._owner, self._settings.lease_seconds)
        if claim is None:
            return False
        with structlog.contextvars.bound_contextvars(job=claim.job_id, stage=claim.stage, attempt=claim.attempt):
            _log.info("stage started", resumed_from=round(claim.resumed_from, 4))
            try:
                self._run(claim)
            except LeaseLostError:
                _log.warning("stage fenced: its lease was lost, nothing was published")
        return True

    def _run(self, claim: Claim) -> None:
        beat = Heartbeat(
            self._database,
            claim,
            self._settings.lease_seconds,
            self._settings.heartbeat_seconds,
            self._stop_requested,
        )
        try:
            with work_folder(self._settings.work_dir, claim.job_id, claim.attempt) as folder, beat:
                artefact = self._execute(claim, folder, beat.context())
        except CancelledError:
            self._end_interrupted(claim, beat.directive)
        except InputRefusedError as error:
            _log.info("input rejected", code=error.code)
            lease.fail(self._database, claim, _described(error), rejected=True)
            shutil.rmtree(folder, ignore_errors=True)
        except LikenessError as error:
            _log.warning("stage failed", code=error.code, exc_info=True)
            lease.fail(self._database, claim, _described(error))
        except OSError as error:
            _log.exception("stage failed")
            lease.fail(self._database, claim, DISK_FULL if error.errno == errno.ENOSPC else INTERNAL_ERROR)
        except Exception:  # noqa: BLE001 - the boundary: any other failure ends this job, not the worker
            _log.exception("stage failed")
            lease.fail(self._database, claim, INTERNAL_ERROR)
        else:
            self._finish(claim, artefact)
            _log.info("stage succeeded")
            if artefact is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _finish(self, claim: Claim, artefact: Artefact | None) -> None:
        """End the stage well. An artefact that nothing points at then is removed."""
        published = False

        def publish(session: Session) -> None:
            nonlocal published
            published = artefact is not None and artefact.publish(session)

        try:
            lease.finish(self._database, claim, self._settings.max_attempts, publish)
        except LeaseLostError:
            if artefact is not None:
                self._store.delete(artefact.key)
            raise
        if artefact is not None and not published:
            self._store.delete(artefact.key)

    def _end_interrupted(self, claim: Claim, directive: Directive) -> None:
        if directive is Directive.LOST:
            raise LeaseLostError
        if directive is Directive.CONTINUE:
            lease.release(self._database, claim)
            _log.info("stage handed back: this worker is stopping")
        else:
            lease.stop(self._database, claim, directive)
            _log.info("stage stopped", directive=str(directive))

    def _execute(self, claim: Claim, folder: Path, context: StageContext) -> Artefact | None:
        if claim.kind is JobKind.ADAPT:
            return self._adapt(claim, folder, context)
        return self._render(claim, folder, context)

    def _adapt(self, claim: Claim, folder: Path, context: StageContext) -> Artefact | None:
        video = self._input(claim.inputs["video"], folder)
        bundle = folder / "avatar.likeness"
        work = folder / "stages"
        lease.save_checkpoint(self._database, claim, {"worker": self._owner, "folder": claim.job_id})
        for kind in STAGES[claim.kind][: claim.position + 1]:
            # Earlier stages return at once where their files are here; on another machine they are made again.
            told = context if kind.name == claim.stage else StageContext(is_cancelled=context.is_cancelled)
            self._pipeline.adapt_stage(kind.name, video, work, bundle, claim.inputs["options"], told)
        if claim.position + 1 < len(STAGES[claim.kind]):
            return None
        key = f"{claim.tenant_id}/identities/{claim.subject_id}/a{claim.attempt}/avatar.likeness"
        stored = self._store.put(key, bundle)

        return Artefact(key, lambda session: publish_bundle(session, claim.subject_id, key, stored.size, stored.sha256))

    def _render(self, claim: Claim, folder: Path, context: StageContext) -> Artefact:
        bundle = self._input(claim.inputs["bundle"], folder)
        audio = self._input(claim.inputs["audio"], folder)
        output = folder / "video.mp4"
        measured = self._pipeline.render(bundle, audio, output, claim.inputs["options"], context)
        result: dict[str, Any] = {name: value for name, value in measured.items() if name != "output"}
        key = f"{claim.tenant_id}/renders/{claim.subject_id}/a{claim.attempt}/video.mp4"
        stored = self._store.put(key, output)

        return Artefact(
            key, lambda session: publish_video(session, claim.subject_id, key, stored.size, stored.sha256, result)
        )

    def _input(self, described: dict[str, str], folder: Path) -> Path:
        """The input as a file of the work folder; `described` names the object's key and the file's name here."""
        path = folder / described["name"]
        if not path.exists():
            self._store.fetch(described["key"], path)
        return path


def _described(error: LikenessError) -> JobError:
    return JobError(error.code, error.message, error.hint, error.retryable)
