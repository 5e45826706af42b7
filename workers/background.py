"""The relay, the reaper and the sweeper as threads: the embedded form runs them beside the API.

Each pass is a function of `core.jobs`; a pass that fails is logged and tried again, for ever.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable

import structlog
from sqlalchemy import select

from core.accounts.secret import platform_secret
from core.consents.checkers import check_once, load_checkers
from core.consents.service import expire_once
from core.jobs.clock import database_now
from core.jobs.database import Database
from core.jobs.outbox import Publish, relay_once
from core.jobs.reaper import reap, sweep
from core.jobs.results import expire_checkpoints, expire_results
from core.jobs.states import JobState
from core.jobs.storage_sweep import sweep_storage
from core.jobs.tables import Identity, Job
from core.settings import Settings
from core.storage import ObjectStore, open_store
from core.webhooks.deliver import deliver_once, forget_old
from workers.workfolder import job_of

SWEEP_SECONDS = 60.0
STORAGE_SWEEP_SECONDS = 3600.0
CONSENT_SECONDS = 10.0
KEEP_WORK_SECONDS = 7 * 24 * 3600.0
"""A failed or cancelled job can go on from its checkpoint for so long."""

_log = structlog.get_logger(__name__)


class Background:
    """Context manager: the threads run inside the block."""

    def __init__(self, settings: Settings, database: Database, publish: Publish) -> None:
        self._stop = threading.Event()
        self._threads = [
            self._thread("relay", settings.relay_seconds, lambda: relay_once(database, publish)),
            self._thread("reaper", settings.reaper_seconds, lambda: reap(database, settings.rehint_seconds)),
            self._thread("sweeper", SWEEP_SECONDS, lambda: sweep_all(settings, database, open_store(settings))),
            self._thread(
                "storage sweeper",
                STORAGE_SWEEP_SECONDS,
                lambda: sweep_storage(settings, database, open_store(settings)),
            ),
            self._thread("webhooks", settings.webhook_seconds, lambda: send_webhooks(settings, database)),
            self._thread("consents", CONSENT_SECONDS, lambda: look_after_consents(settings, database)),
        ]

    def __enter__(self) -> Background:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _thread(self, name: str, every_seconds: float, once: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            while not self._stop.is_set():
                try:
                    once()
                except Exception:  # noqa: BLE001 - whatever it was, the next pass may do better
                    _log.exception("pass failed", of=name)
                self._stop.wait(every_seconds)

        return threading.Thread(target=run, name=name, daemon=True)


def send_webhooks(settings: Settings, database: Database) -> None:
    """Send the webhook messages that are due."""
    deliver_once(
        database,
        platform_secret(settings),
        timeout_s=settings.webhook_timeout_seconds,
        allow_private=settings.webhook_allow_private,
    )


def look_after_consents(settings: Settings, database: Database) -> None:
    """End those whose time is over, and have the installed checkers look at new evidence."""
    expire_once(database)
    if checkers := load_checkers():
        check_once(database, open_store(settings), settings, checkers)


def sweep_all(settings: Settings, database: Database, store: ObjectStore) -> None:
    """Delete rows, results, checkpoints and work folders that nobody needs any more."""
    sweep(database)
    forget_old(database)
    # The rows first: an object whose deletion fails is found by the sweep for orphans.
    expired = expire_results(database, settings.keep_results_seconds)
    for key in (*expired, *expire_checkpoints(database, KEEP_WORK_SECONDS)):
        store.delete(key)
    if not settings.work_dir.is_dir():
        return
    for folder in settings.work_dir.iterdir():
        if not _needed(database, job_of(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _needed(database: Database, job_id: str) -> bool:
    with database.read() as session:
        job = session.get(Job, job_id)
        if job is None or job.state in (JobState.SUCCEEDED, JobState.REJECTED):
            return False
        if job.finished_at is None:
            return True
        now = float(session.scalar(select(database_now())) or 0.0)
        identity = session.get(Identity, job.subject_id)
        deleted = identity is not None and identity.deleted_at is not None
        return not deleted and now - job.finished_at < KEEP_WORK_SECONDS
