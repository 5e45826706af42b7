"""Who calls, and what their key lets them do. The answer of the database is believed for some seconds.

It knows no resource: every route says which scope it wants by the dependency it takes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from core.accounts.keys import KeyHolder, holder_of_key, mark_used, unused_lately, well_formed
from core.jobs.database import Database

_KEPT_KEYS = 10_000


@dataclass(frozen=True)
class _Known:
    holder: KeyHolder
    until: float


class KeyRing:
    """The keys that were seen lately. A key that is revoked through this process is forgotten at once."""

    def __init__(self, database: Database, secret_key: str, seconds: float) -> None:
        self._database = database
        self._secret_key = secret_key
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def known(self, key: str) -> KeyHolder | None:
        """The holder, if the key was looked up lately. Asks nobody: may be called from the event loop."""
        found = self._known.get(key)
        if found is None or found.until < time.monotonic():
            return None
        if found.holder.expires_at is not None and found.holder.expires_at < time.time():
            return None
        return found.holder

    def look_up(self, key: str) -> KeyHolder | None:
        """The holder, from the database; None for a key that is worth nothing."""
        if not well_formed(key):
            return None
        with self._database.read() as session:
            holder = holder_of_key(session, key, self._secret_key)
            stale = holder is not None and unused_lately(session, holder.key_id)
        if holder is None:
            return None
        if stale:
            with self._database.write() as session:
                mark_used(session, holder.key_id)
        with self._lock:
            self._known[key] = _Known(holder, time.monotonic() + self._seconds)
            while len(self._known) > _KEPT_KEYS:
                self._known.popitem(last=False)
        return holder

    def forget(self, key_id: str) -> None:
        """The key was revoked."""
        with self._lock:
            for key in [key for key, known in self._known.items() if known.holder.key_id == key_id]:
                del self._known[key]
