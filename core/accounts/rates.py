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
_SCRIPT = """
local now = redis.call('TIME')
local t = tonumber(now[1]) + tonumber(now[2]) / 1000000
local rate, size = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1]) or size
local at = tonumber(kept[2]) or t
tokens = math.min(size, tokens + math.max(0, t - at) * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = (1 - tokens) / rate end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', t)
redis.call('EXPIRE', KEYS[1], math.ceil(size / rate) + 1)
return tostring(wait)
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

    def take(self, bucket: str, per_minute: int) -> float:
        """Take a token. Returns 0, or the seconds until there is one. `per_minute` 0: no limit."""


class LocalLimiter:
    """Buckets in this process. Asked from the event loop: it never blocks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

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
    """Buckets in the broker's Redis, on its clock, shared by all API processes. Blocks for a quarter second at most."""

    def __init__(self, url: str, on_failure: Callable[[], object]) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS, retry=None
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._on_failure = on_failure

    def take(self, bucket: str, per_minute: int) -> float:
        """See `RateLimiter.take`. Without its server: 0, and `on_failure` is called."""
        if per_minute == 0:
            return 0.0
        try:
            return float(self._script(keys=[f"likeness:rate:{bucket}"], args=[per_minute / 60.0, per_minute]))
        except (redis.RedisError, OSError) as error:
            _log.warning("rate limit not checked", error=type(error).__name__)
            self._on_failure()
            return 0.0


def is_redis(url: str) -> bool:
    """Whether a broker's URL names a server that speaks Redis."""
    return url.startswith(("redis://", "rediss://", "unix://"))
