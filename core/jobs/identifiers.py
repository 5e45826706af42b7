"""Ids: a prefix that says what the thing is, and a UUID of version 7, so that ids sort by the time they were made."""

from __future__ import annotations

import secrets
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """A new id such as `job_0199f3a2...` (32 hexadecimal digits), greater than every earlier one of this process."""
    global _last
    with _lock:
        # RFC 9562, section 6.2, method 3: the 12 bits after the milliseconds carry the sub-millisecond clock.
        ticks = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
        _last = ticks
    value = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{prefix}_{value:032x}"
