"""Keeps the lease of a running stage alive from a thread, carries its progress out, and brings orders in.

The stage itself only sees a `StageContext`: it reports progress, and asks whether to stop. Where it does not stop in
time, its process is given up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.jobs.database import Database
from core.jobs.lease import Claim, Directive, heartbeat
from core.jobs.steps import JobError
from core.progress import StageContext
from workers.guard import Guard

TICK_SECONDS = 0.25
ANNOUNCE_STEP = 0.01
"""A progress event is written when the stage moved by so much since the last one."""

_log = structlog.get_logger(__name__)


class Heartbeat:
    """Context manager around the run of one stage."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        lease_seconds: float,
        heartbeat_seconds: float,
        stop_requested: Callable[[], bool],
        *,
        guard: Guard | None = None,
        stop_seconds: float = float("inf"),
        give_up: Callable[[Heartbeat], None] = lambda _: None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """Args:
        database: where the lease is.
        claim: of the stage.
        lease_seconds: life of the lease after each beat.
        heartbeat_seconds: from one beat to the next.
        stop_requested: whether this worker is being stopped.
        guard: the stage's limits.
        stop_seconds: how long the stage may take to stop once it was told to.
        give_up: called, from the thread, for a stage that takes longer: ends the attempt, then the process.
        alive: called after each beat.
        """
        self._database = database
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._stop_requested = stop_requested
        self._progress = claim.resumed_from
        self._announced = claim.resumed_from
        self._ended = threading.Event()
        self._interrupted = threading.Event()
        self._guard = guard
        self._stop_seconds = stop_seconds
        self._give_up = give_up
        self._alive = alive
        self._told_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{claim.stage}", daemon=True)
        self.directive = Directive.CONTINUE
        """Why the stage is to stop; CONTINUE while it is not, or when the worker itself is being stopped."""
        self.exceeded: JobError | None = None
        """The limit that the stage is to stop for."""

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop beating: whatever ends the stage in the database comes after the last beat."""
        self._ended.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def context(self) -> StageContext:
        """What the stage is told from outside."""
        return StageContext(on_progress=self._report, is_cancelled=self._interrupted.is_set)

    def _report(self, stage: str, fraction: float) -> None:
        del stage
        self._progress = max(self._progress, fraction)

    def _run(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(TICK_SECONDS):
            self._watch()
            if time.monotonic() - renewed < self._heartbeat_seconds:
                continue
            began = time.monotonic()
            try:
                self._beat()
                renewed = began
                self._alive()
            except SQLAlchemyError:
                _log.warning("heartbeat failed", stage=self._claim.stage, exc_info=True)
                # Without the database's word the lease must be taken as lost when it ends.
                if time.monotonic() - renewed > self._lease_seconds:
                    self.directive = Directive.LOST
            if self.directive is not Directive.CONTINUE:
                self._interrupt()

    def _watch(self) -> None:
        """Look at what needs no database: limits, and whether this worker is being stopped."""
        if self._guard is not None and self.exceeded is None:
            self.exceeded = self._guard.exceeded()
        if self.exceeded is not None or self._stop_requested():
            self._interrupt()
        if self._told_at is not None and time.monotonic() - self._told_at > self._stop_seconds:
            _log.warning("stage does not stop, its process is given up", stage=self._claim.stage)
            self._ended.set()
            self._give_up(self)

    def _interrupt(self) -> None:
        self._interrupted.set()
        if self._told_at is None:
            self._told_at = time.monotonic()

    def _beat(self) -> None:
        progress = self._progress
        announce = progress - self._announced >= ANNOUNCE_STEP
        self.directive = heartbeat(self._database, self._claim, self._lease_seconds, progress, announce=announce)
        if announce:
            self._announced = progress
