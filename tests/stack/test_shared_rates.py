"""The rate limit that API processes share through a real Redis-compatible server."""

from __future__ import annotations

import time

import pytest

from cli.services import Servers
from core.accounts.rates import RedisLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def limiter(stack: Servers, clock: Clock | None = None) -> RedisLimiter:
    def failed() -> None:
        raise AssertionError("the server was not reached")

    return RedisLimiter(stack.valkey.url, failed, clock or time.monotonic)


def allowed(one: RedisLimiter, bucket: str, per_minute: int) -> bool:
    free = one.try_take(bucket, per_minute)
    return (one.take(bucket, per_minute) if free is None else free) == 0.0


@pytest.mark.parametrize("per_minute", [40, 3000])
def test_two_processes_share_one_bucket(stack: Servers, per_minute: int) -> None:
    """3000 a minute: each process takes five at once; 40: one by one."""
    first, second = limiter(stack), limiter(stack)
    began = time.monotonic()
    taken = sum(allowed(one, f"shared-{per_minute}", per_minute) for _ in range(per_minute) for one in (first, second))
    refilled = (time.monotonic() - began) * per_minute / 60
    assert per_minute - 10 <= taken <= per_minute + refilled + 1


def test_what_was_taken_in_advance_is_spent_without_asking_and_does_not_keep(stack: Servers) -> None:
    clock = Clock()
    one = limiter(stack, clock)
    assert one.try_take("advance", 6000) is None
    assert one.take("advance", 6000) == 0.0
    assert [one.try_take("advance", 6000) for _ in range(10)] == [0.0] * 9 + [None]
    assert one.take("advance", 6000) == 0.0
    clock.now = 2.0
    assert one.try_take("advance", 6000) is None


def test_an_empty_bucket_says_how_long_to_wait(stack: Servers) -> None:
    one = limiter(stack)
    waits = [one.take("small", 2) for _ in range(3)]
    assert waits[:2] == [0.0, 0.0]
    assert 25 < waits[2] <= 30
