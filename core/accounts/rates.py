"""How often a tenant may call: one token bucket for each tenant and kind of call.

With Redis as the broker all API processes share the buckets; otherwise each process has its own. A limiter that can't
reach its server lets the call through and counts that: it must not be what takes the platform down.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import redis
import structlog

from core.errors import LikenessError

_KEPT_BUCKETS = 10_000
_REDIS_SECONDS = 0.25
_ADVANCE_SECONDS = 0.1
"""A process takes what its rate allows in so long at once, so that not every call asks the server."""
_ADVANCE_KEPT_SECONDS = 1.0
_SCRIPT = """
local now = redis.call('TIME')
local t = tonumber(now[1]) + tonumber(now[2]) / 1000000
local rate, size = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1]) or size
local at = tonumber(kept[2]) or t
tokens = math.min(size, tokens + math.max(0, t - at) * rate)
local wait, taken = 0, math.min(math.floor(tokens), tonumber(ARGV[3]))
if taken < 1 then wait = (1 - tokens) / rate end
redis.call('HSET', KEYS[1], 'tokens', tokens - taken, 'at', t)
redis.call('EXPIRE', KEYS[1], math.ceil(size / rate) + 1)
return {tostring(wait), taken}
"""
_log = structlog.get_logger(__name__)


class RateLimitedError(LikenessError):
    """The tenant calls more often than it may."""

    retryable = True

    def __init__(self, wait_s: float) -> None:
        super().__init__("rate_limited", "Too many requests.", "Slow down; Retry-After says when to go on.")
        self.retry_after_s = max(1, round(wait_s + 0.5))


class RateLimiter(Protocol):
    """Buckets that fill at a steady rate and hold one minute's worth."""

    def try_take(self, bucket: str, per_minute: int) -> float | None:
        """`take` where that needs no server; None where it does. Asked from the event loop: it never blocks."""

    def take(self, bucket: str, per_minute: int) -> float:
        """Take a token. Returns 0, or the seconds until there is one. `per_minute` 0: no limit."""


class LocalLimiter:
    """Buckets in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def try_take(self, bucket: str, per_minute: int) -> float:
        """See `RateLimiter.try_take`."""
        return self.take(bucket, per_minute)

    def take(self, bucket: str, per_minute: int) -> float:
        """See `RateLimiter.take`."""
        if per_minute == 0:
            return 0.0
        rate, now = per_minute / 60.0, self._clock()
        with self._lock:
            tokens, at = self._buckets.pop(bucket, (float(per_minute), now))
            tokens = min(float(per_minute), tokens + (now - at) * rate)
            wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / rate
            self._buckets[bucket] = (tokens - 1.0 if wait == 0.0 else tokens, now)
            if len(self._buckets) > _KEPT_BUCKETS:
                self._buckets.popitem(last=False)
        return wait


class RedisLimiter:
    """Buckets in the broker's Redis, on its clock, shared by all API processes. Blocks for a quarter second at most.

    A process takes tokens for a tenth of a second at once and spends them itself; what it has not spent after a second
    is lost, to the caller's cost.
    """

    def __init__(self, url: str, on_failure: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS, retry=None
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._on_failure = on_failure
        self._clock = clock
        self._lock = threading.Lock()
        self._advance: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Tokens taken and not spent, and until when they may be."""

    def try_take(self, bucket: str, per_minute: int) -> float | None:
        """See `RateLimiter.try_take`."""
        if per_minute == 0:
            return 0.0
        with self._lock:
            left, until = self._advance.get(bucket, (0, 0.0))
            if left < 1 or self._clock() > until:
                return None
            self._advance[bucket] = (left - 1, until)
        return 0.0

    def take(self, bucket: str, per_minute: int) -> float:
        """See `RateLimiter.take`. Without its server: 0, and `on_failure` is called."""
        if per_minute == 0:
            return 0.0
        rate = per_minute / 60.0
        wanted = max(1, round(rate * _ADVANCE_SECONDS))
        try:
            wait, taken = self._script(keys=[f"likeness:rate:{bucket}"], args=[rate, per_minute, wanted])
            self._keep(bucket, int(taken) - 1)
            return float(wait)
        except (redis.RedisError, OSError) as error:
            _log.warning("rate limit not checked", error=type(error).__name__)
            self._on_failure()
            return 0.0

    def _keep(self, bucket: str, spare: int) -> None:
        if spare < 1:
            return
        with self._lock:
            now = self._clock()
            left, until = self._advance.pop(bucket, (0, 0.0))
            self._advance[bucket] = (spare + (left if now <= until else 0), now + _ADVANCE_KEPT_SECONDS)
            if len(self._advance) > _KEPT_BUCKETS:
                self._advance.popitem(last=False)


def is_redis(url: str) -> bool:
    """Whether a broker's URL names a server that speaks Redis."""
    return url.startswith(("redis://", "rediss://", "unix://"))
