"""The one wrapper around every stage: claim, run, put the artefacts, finish. It adds no science.

Whatever the stage does, the attempt ends in exactly one way, and writes it under its fencing token. What the database
refuses leaves nothing in the store.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from core.errors import CancelledError, InputRefusedError, LikenessError
from core.jobs import lease
from core.jobs.claims import claim_next
from core.jobs.database import Database
from core.jobs.kinds import STAGES, JobKind
from core.jobs.lease import Claim, Directive, LeaseLostError
from core.jobs.publish import publish_bundle, publish_umf, publish_video
from core.jobs.steps import JobError
from core.settings import Settings
from core.storage import ObjectStore, StorageUnavailableError
from core.telemetry import REQUEST, mark_failed, stage_span
from workers.checkpoints import CheckpointKeeper
from workers.guard import OUT_OF_MEMORY, Guard
from workers.heartbeat import Heartbeat
from workers.pipeline import Pipeline
from workers.work import Done, StageWork
from workers.workfolder import work_folder

INTERNAL_ERROR = JobError(
    "internal_error", "The stage failed for a reason that is ours.", "The worker's log has the details; retry the job."
)
DISK_FULL = JobError("disk_full", "The worker's disk is full.", "Free some space, then retry the job.", retryable=True)
LONGEST_PAUSE_SECONDS = 300.0
TELL_AGAIN_SECONDS = 0.5

_log = structlog.get_logger(__name__)


def _nothing() -> None:
    pass


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
        *,
        alive: Callable[[], None] = _nothing,
        replace_process: Callable[[], None] = _nothing,
    ) -> None:
        """Args:
        settings: the platform's.
        database: the truth.
        store: the artefacts.
        pipeline: the science.
        owner: name under which leases are held: of this process, and of no other one.
        stop_requested: whether this worker is being stopped.
        alive: called whenever the database was asked for work, and at every heartbeat.
        replace_process: ends this process, so that a fresh one takes its place.
        """
        self._settings = settings
        self._database = database
        self._store = store
        self._pipeline = pipeline
        self._owner = owner
        self._stop_requested = stop_requested
        self._alive = alive
        self._replace_process = replace_process

    def run_next(self, queues: Sequence[str]) -> bool:
        """Claim one stage of these queues and run it to its end. Returns False where there was nothing to claim."""
        if self._stop_requested():
            return False
        try:
            claim = claim_next(self._database, queues, self._owner, self._settings.lease_seconds)
        except SQLAlchemyError:
            _log.warning("no claim: the database does not answer", exc_info=True)
            return False
        self._alive()
        if claim is None:
            return False
        told: dict[str, str | int] = {
            "job": claim.job_id,
            "tenant": claim.tenant_id,
            "stage": claim.stage,
            "attempt": claim.attempt,
            "segment": claim.segment,
        }
        request = (claim.origin or {}).get(REQUEST)
        named = {**told, **({REQUEST: request} if request else {})}
        with (
            structlog.contextvars.bound_contextvars(**named),
            stage_span(claim.stage, claim.origin, told) as span,
        ):
            _log.info("stage started", resumed_from=round(claim.resumed_from, 4))
            try:
                why = self._run(claim)
            except LeaseLostError:
                why = "lease_lost"
                _log.warning("stage fenced: its lease was lost, nothing was published")
            except SQLAlchemyError:
                why = "database"
                _log.exception("stage given up: the database did not answer for as long as its lease")
            if why is not None:
                mark_failed(span, why)
        return True

    def _run(self, claim: Claim) -> str | None:
        """Run the claimed stage. Returns why it did not end well, or None."""
        beat = Heartbeat(
            self._database,
            claim,
            self._settings.lease_seconds,
            self._settings.heartbeat_seconds,
            self._stop_requested,
            guard=Guard(self._settings.worker_memory_mb, self._settings.worker_cpu_seconds),
            stop_seconds=self._settings.worker_stop_seconds,
            give_up=lambda beat: self._give_up(claim, beat),
            alive=self._alive,
        )
        segment = claim.segment if claim.segments > 1 else None
        try:
            with work_folder(self._settings.work_dir, claim.job_id, claim.attempt, segment) as folder:
                work = StageWork(self._settings, self._database, self._store, self._pipeline, claim, folder)
                with beat:
                    self._do(claim, work, beat)
                # Nothing needs the folder any more where the result, and what later stages read, lies in the store.
                if work.is_last or segment is not None:
                    shutil.rmtree(folder, ignore_errors=True)
        except CancelledError:
            return self._end_interrupted(claim, beat)
        except InputRefusedError as error:
            _log.info("input rejected", code=error.code)
            refusal = _described(error)
            self._tell(lambda: lease.fail(self._database, claim, refusal, rejected=True))
            shutil.rmtree(folder, ignore_errors=True)
            return error.code
        except LeaseLostError:
            raise
        except LikenessError as error:
            _log.warning("stage failed", code=error.code, exc_info=True)
            return self._fail(claim, _described(error))
        except MemoryError:
            _log.exception("stage failed")
            return self._fail(claim, OUT_OF_MEMORY)
        except OSError as error:
            _log.exception("stage failed")
            return self._fail(claim, DISK_FULL if error.errno == errno.ENOSPC else INTERNAL_ERROR)
        except Exception:  # noqa: BLE001 - the boundary: any other failure ends this job, not the worker
            _log.exception("stage failed")
            return self._fail(claim, INTERNAL_ERROR)
        _log.info("stage succeeded")
        return None

    def _do(self, claim: Claim, work: StageWork, beat: Heartbeat) -> None:
        """Do the work and say so, while the lease is kept alive."""
        context = beat.context()
        task = work.task()
        keeper = CheckpointKeeper(
            self._database, self._store, self._pipeline, claim, task, self._settings.checkpoint_seconds
        )
        with keeper:
            try:
                done = work.perform(context)
            except CancelledError:
                if beat.directive is not Directive.LOST:
                    self._save(keeper)
                raise
        beat.end()
        self._finish(claim, done)
        try:
            keeper.drop()
            work.drop_earlier_attempts()
        except StorageUnavailableError:
            _log.warning("what earlier attempts left is not removed: the sweep for orphans will", exc_info=True)

    def _save(self, keeper: CheckpointKeeper) -> None:
        try:
            keeper.save()
        except (SQLAlchemyError, StorageUnavailableError, OSError):
            _log.warning("checkpoint not saved", exc_info=True)

    def _finish(self, claim: Claim, done: Done) -> None:
        """End the stage well. An object that nothing points at then is removed."""
        published = False

        def publish(session: Session) -> None:
            nonlocal published
            published = _publish(session, claim, done)

        kept: dict[str, object] | None = None

        def tell() -> None:
            nonlocal kept
            kept = lease.finish(
                self._database,
                claim,
                self._settings.max_attempts,
                publish,
                output=done.output,
                result=done.name if not done.reused or done.made_here else None,
                reused=done.reused,
            )

        try:
            self._tell(tell)
        except LeaseLostError:
            if not lease.succeeded_by(self._database, claim):
                for key in done.made_here:
                    self._store.delete(key)
                raise
            return  # an answer of the database was lost, its commit was not
        for key in done.made_here:
            if not (published if claim.stage == STAGES[claim.kind][-1].name else (kept or {}).get("key") == key):
                self._store.delete(key)

    def _fail(self, claim: Claim, error: JobError) -> str:
        if error.retryable:
            pause = min(LONGEST_PAUSE_SECONDS, self._settings.retry_seconds * 2.0 ** (claim.attempt - 1))
            self._tell(lambda: lease.fail_attempt(self._database, claim, error, pause))
        else:
            self._tell(lambda: lease.fail(self._database, claim, error))
        if error.code == OUT_OF_MEMORY.code:
            self._replace_process()
        return error.code

    def _end_interrupted(self, claim: Claim, beat: Heartbeat) -> str:
        if beat.exceeded is not None:
            _log.warning("stage stopped at a limit", code=beat.exceeded.code)
            return self._fail(claim, beat.exceeded)
        if beat.directive is Directive.LOST:
            raise LeaseLostError
        if beat.directive is Directive.CONTINUE:
            self._tell(lambda: lease.release(self._database, claim))
            _log.info("stage handed back: this worker is stopping")
            return "released"
        self._tell(lambda: lease.stop(self._database, claim, beat.directive))
        _log.info("stage stopped", directive=str(beat.directive))
        return str(beat.directive)

    def _give_up(self, claim: Claim, beat: Heartbeat) -> None:
        """The stage does not stop, in native code perhaps: end its attempt from here, then its process."""
        try:
            self._end_interrupted(claim, beat)
        except LeaseLostError:
            _log.warning("its lease was lost already")
        except SQLAlchemyError:
            _log.exception("its lease ends by itself: the database does not answer")
        self._replace_process()

    def _tell(self, write: Callable[[], object]) -> None:
        """Tell the database how the attempt ended; while it is away, until the lease must be over.

        Raises:
            LeaseLostError: from `write`; SQLAlchemyError: the database stayed away.
        """
        until = time.monotonic() + self._settings.lease_seconds
        while True:
            try:
                write()
                return
            except DBAPIError:
                if time.monotonic() > until:
                    raise
                _log.warning("the database does not answer, it is told again", exc_info=True)
                time.sleep(TELL_AGAIN_SECONDS)


def _publish(session: Session, claim: Claim, done: Done) -> bool:
    """Point what the job makes at its result; False where that was deleted meanwhile."""
    key, size, sha256 = str(done.output["key"]), int(done.output["size"]), str(done.output["sha256"])
    if claim.kind is JobKind.ADAPT:
        return publish_bundle(session, claim.subject_id, key, size, sha256)
    if claim.kind is JobKind.RENDER:
        return publish_video(session, claim.subject_id, key, size, sha256, done.measured)
    return publish_umf(session, claim.subject_id, key, size, sha256, done.measured)


def _described(error: LikenessError) -> JobError:
    return JobError(error.code, error.message, error.hint, error.retryable)
