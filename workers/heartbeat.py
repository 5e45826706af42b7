"""Keeps the lease of a running stage alive from a thread, carries its progress out, and brings orders in.

The stage itself only sees a `StageContext`: it reports progress, and asks whether to stop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.jobs.database import Database
from core.jobs.lease import Claim, Directive, heartbeat
from core.progress import StageContext

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
    ) -> None:
        self._database = database
        self._claim = claim
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._stop_requested = stop_requested
        self._progress = claim.resumed_from
        self._announced = claim.resumed_from
        self._ended = threading.Event()
        self._interrupted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{claim.stage}", daemon=True)
        self.directive = Directive.CONTINUE
        """Why the stage is to stop; CONTINUE while it is not, or when the worker itself is being stopped."""

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop beating: whatever ends the stage in the database comes after the last beat."""
        self._ended.set()
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
            if self._stop_requested():
                self._interrupted.set()
            if time.monotonic() - renewed < self._heartbeat_seconds:
                continue
            began = time.monotonic()
            try:
                self._beat()
                renewed = began
            except SQLAlchemyError:
                _log.warning("heartbeat failed", stage=self._claim.stage, exc_info=True)
                # Without the database's word the lease must be taken as lost when it ends.
                if time.monotonic() - renewed > self._lease_seconds:
                    self.directive = Directive.LOST
            if self.directive is not Directive.CONTINUE:
                self._interrupted.set()

    def _beat(self) -> None:
        progress = self._progress
        announce = progress - self._announced >= ANNOUNCE_STEP
        self.directive = heartbeat(self._database, self._claim, self._lease_seconds, progress, announce=announce)
        if announce:
            self._announced = progress
