"""Copies a running stage's checkpoint to the store, so that a worker on another machine can go on from it.

Two objects in turn: the new one is there, and recorded, before the old one goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import LikenessError
from core.jobs import lease
from core.jobs.database import Database
from core.jobs.lease import Claim, LeaseLostError
from core.storage import ObjectMissingError, ObjectStore
from workers.parcel import pack, unpack
from workers.pipeline import Pipeline, Task

TICK_SECONDS = 0.25
_log = structlog.get_logger(__name__)


class CheckpointKeeper:
    """Context manager around the run of one stage: a thread saves every `every_seconds`."""

    def __init__(
        self, database: Database, store: ObjectStore, pipeline: Pipeline, claim: Claim, task: Task, every_seconds: float
    ) -> None:
        self._database = database
        self._store = store
        self._claim = claim
        self._folder = task.workdir
        self._names: Sequence[str] = pipeline.checkpoints(task)
        self._every_seconds = every_seconds
        self._saved: tuple[tuple[str, int, int], ...] = ()
        self._current = str(claim.checkpoint["key"]) if claim.checkpoint else None
        self._turn = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"checkpoint-{claim.stage}", daemon=True)

    def __enter__(self) -> CheckpointKeeper:
        self._restore()
        if self._names:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def save(self) -> None:
        """Copy the checkpoint now, if it has changed.

        Raises:
            LeaseLostError: this attempt is not the current one; nothing of it is left in the store.
        """
        state = self._state()
        if not state or state == self._saved:
            return
        parcel = self._folder.parent / f"{self._claim.stage}.{self._claim.segment}.checkpoint.tar"
        key = self._key(self._claim.attempt, self._turn)
        pack(self._folder, self._names, parcel, all_of_them=False)
        self._store.delete(key)  # of a turn before the last
        stored = self._store.put(key, parcel)
        parcel.unlink()
        told = {"key": key, "size": stored.size, "sha256": stored.sha256, "attempt": self._claim.attempt}
        try:
            lease.save_checkpoint(self._database, self._claim, told)
        except LeaseLostError:
            self._store.delete(key)
            raise
        if self._current is not None and self._current != key:
            self._store.delete(self._current)
        self._current, self._saved, self._turn = key, state, 1 - self._turn

    def drop(self) -> None:
        """The stage is done: remove its checkpoints, those of attempts that died while they saved one included."""
        if self._names:
            for attempt in range(1, self._claim.attempt + 1):
                for turn in (0, 1):
                    self._store.delete(self._key(attempt, turn))

    def _restore(self) -> None:
        """Bring the checkpoint here that a later attempt left elsewhere; note whose files these are from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        worked = self._folder / f".attempt-{self._claim.stage}-{self._claim.segment}"
        here = int(worked.read_text()) if worked.exists() else 0
        checkpoint = self._claim.checkpoint
        if checkpoint is not None and int(checkpoint.get("attempt", 0)) > here:
            parcel = self._folder.parent / "restored.tar"
            try:
                self._store.fetch(str(checkpoint["key"]), parcel)
                unpack(parcel, self._folder, self._names)
                _log.info("checkpoint fetched", of_attempt=checkpoint["attempt"])
            except ObjectMissingError:
                _log.warning("checkpoint is gone: the stage begins anew")
            finally:
                parcel.unlink(missing_ok=True)
        worked.write_text(str(self._claim.attempt))

    def _run(self) -> None:
        saved_at = time.monotonic()
        while not self._ended.wait(TICK_SECONDS):
            if time.monotonic() - saved_at < self._every_seconds:
                continue
            try:
                self.save()
            except LeaseLostError:
                return
            except (SQLAlchemyError, LikenessError, OSError):
                _log.warning("checkpoint not saved", exc_info=True)
            saved_at = time.monotonic()

    def _state(self) -> tuple[tuple[str, int, int], ...]:
        """What changes when the checkpoint does: name, size and time of each file."""
        found = []
        for name in self._names:
            base = self._folder / name
            for path in sorted(base.rglob("*")) if base.is_dir() else [base]:
                if path.is_file():
                    told = path.stat()
                    found.append((str(path), told.st_size, told.st_mtime_ns))
        return tuple(found)

    def _key(self, attempt: int, turn: int) -> str:
        claim = self._claim
        return f"{claim.tenant_id}/jobs/{claim.job_id}/{claim.stage}.{claim.segment}/a{attempt}/checkpoint-{turn}.tar"
