"""Work on several threads: the same results in the same order, a caller who is never silent, and ends that are ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from core.clip.parallel import AbandonedError, Spares, Tick, ahead, attend, in_order, thread_count
from core.errors import CancelledError


def nothing() -> None:
    """A tick that nobody hears."""


class Stop:
    """A tick that cancels from its n-th call on."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise CancelledError


@pytest.mark.parametrize(("said", "least", "most"), [("3", 3, 3), ("1", 1, 1), ("500", 8, 8), ("", 1, 8), ("no", 1, 8)])
def test_the_environment_says_how_many_threads(
    said: str, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKENESS_THREADS", said)
    assert least <= thread_count() <= most


def test_results_come_in_the_jobs_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_THREADS", "4")

    def work(job: int, pulse: Tick) -> int:
        pulse()
        time.sleep(0.02 if job % 3 == 0 else 0)
        return job * job

    assert list(in_order(range(20), work, nothing)) == [job * job for job in range(20)]


def test_jobs_are_drawn_only_a_few_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_THREADS", "2")
    drawn: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(100):
            drawn.append(job)
            yield job

    results = in_order(jobs(), lambda job, pulse: job, nothing)
    for number in range(10):
        assert next(results) == number
        assert len(drawn) <= number + 3, "memory would grow with the film"


def test_who_waits_goes_on_ticking() -> None:
    ticks: list[int] = []
    done = threading.Event()

    def work() -> str:
        done.wait(20)
        return "found"

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 4:
            done.set()

    assert attend(work, tick) == "found"
    assert len(ticks) >= 4


def test_an_error_of_the_work_reaches_who_waits() -> None:
    def work() -> None:
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        attend(work, nothing)
    with pytest.raises(ValueError, match="of the work"):
        list(in_order([1], lambda job, pulse: work(), nothing))


def test_a_cancel_ends_jobs_that_run() -> None:
    ended: list[str] = []

    def work(job: int, pulse: Tick) -> None:
        try:
            while True:
                pulse()
                time.sleep(0.01)
        except AbandonedError:
            ended.append("abandoned")
            raise

    with pytest.raises(CancelledError):
        list(in_order([1, 2], work, Stop(after=2)))
    assert ended, "the pool is gone when the caller is told"


def test_a_generator_runs_ahead_in_one_thread_and_is_closed() -> None:
    threads: list[int] = []

    def items() -> Generator[int, None, None]:
        try:
            for number in range(1000):
                threads.append(threading.get_ident())
                yield number
        finally:
            threads.append(threading.get_ident())

    with ahead(items, nothing, room=3) as stream:
        assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
    deadline = time.monotonic() + 20
    before = -1
    while len(threads) != before and time.monotonic() < deadline:
        before = len(threads)
        time.sleep(0.3)
    assert len(threads) < 15, "a few items ahead, then closed"
    assert set(threads) == {threads[0]} and threads[0] != threading.get_ident()


def test_what_a_generator_raises_comes_after_its_items() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise ValueError("the film ends here")

    with ahead(items, nothing) as stream:
        assert next(stream) == 1
        with pytest.raises(ValueError, match="ends here"):
            next(stream)


def test_a_thing_is_lent_to_one_at_a_time_and_made_once() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    spares = Spares(make)
    with spares.lent() as one, spares.lent() as other:
        assert one is not other
    with spares.lent() as again:
        assert again in made
    assert len(made) == 2 and len(list(spares.idle())) == 2 and list(spares.idle()) == []
