"""Work on as many threads as the machine has cores, under a caller that goes on reporting meanwhile.

Threads, not processes: LiteRT, OpenCV, CTranslate2 and numpy's large loops let go of the interpreter as they work, and
a pool process of the job queue may have no children of its own. What comes out never depends on how many threads
there are. Knows no pictures and no faces.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Generic, TypeVar

TICK_S = 0.2
"""A waiting caller looks up this often: reports go out, and a cancel is seen, well within a second."""
MOST_THREADS = 8
"""Each holds a segment of the film in memory."""

T = TypeVar("T")
J = TypeVar("J")
R = TypeVar("R")
Tick = Callable[[], None]
"""Reports, and raises where the work is to stop."""


def thread_count() -> int:
    """Threads to compute with: `LIKENESS_THREADS`, or the cores that this process may use; at most `MOST_THREADS`."""
    wanted = os.environ.get("LIKENESS_THREADS", "")
    count = int(wanted) if wanted.isdigit() and int(wanted) > 0 else len(os.sched_getaffinity(0))
    return min(count, MOST_THREADS)


class AbandonedError(Exception):
    """Raised inside a job whose result nobody waits for any more."""


def attend(work: Callable[[], T], tick: Tick) -> T:
    """Run `work` in a thread of its own and call `tick` five times a second until it ends; returns what it returns.

    Where `tick` raises, `work` runs to its end unheard: so it must write nothing that matters.
    """
    return awaited(beside(work), tick)


def beside(work: Callable[[], T]) -> Future[T]:
    """Start `work` in a thread of its own; `awaited` gets its result."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - carried to whoever waits, and raised there
            future.set_exception(error)

    threading.Thread(target=run, name="clip-beside", daemon=True).start()
    return future


def awaited(future: Future[T], tick: Tick) -> T:
    """The result of `future`, calling `tick` five times a second until it is there."""
    while True:
        tick()
        if wait([future], TICK_S).done:
            return future.result()


@contextmanager
def ahead(items: Callable[[], Generator[T, None, None]], tick: Tick, room: int = 4) -> Iterator[Iterator[T]]:
    """Let a thread run the generator that `items` makes, up to `room` items ahead of who reads them.

    A generator that waits for ffmpeg is begun, read and closed by that one thread, as the fence asks; the reader's
    `tick` is called at each item and five times a second in between.
    """
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(room)
    abandoned = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                return ready.put(item, timeout=TICK_S)
            except queue.Full:
                continue
        raise AbandonedError

    def run() -> None:
        source = items()
        try:
            for item in source:
                put((item,))
            put(None)
        except AbandonedError:
            pass
        except BaseException as error:  # noqa: BLE001 - carried to whoever reads, and raised there
            if not abandoned.is_set():
                put(error)
        finally:
            source.close()

    def read() -> Iterator[T]:
        while True:
            tick()
            try:
                item = ready.get(timeout=TICK_S)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    thread = threading.Thread(target=run, name="clip-ahead", daemon=True)
    thread.start()
    try:
        yield read()
    finally:
        abandoned.set()
        thread.join(TICK_S)


def in_order(jobs: Iterable[J], work: Callable[[J, Tick], R], tick: Tick) -> Iterator[R]:
    """`work` of each job, in the jobs' order, as many at a time as `thread_count` says.

    Args:
        jobs: drawn in the caller's thread, a few ahead.
        work: called as work(job, pulse) in some thread; it calls `pulse` now and then, which ends it where the caller
            has gone.
        tick: called in the caller's thread, five times a second while it waits.
    """
    gone = threading.Event()

    def pulse() -> None:
        if gone.is_set():
            raise AbandonedError

    threads = thread_count()
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, "clip") as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(work, job, pulse))
                if len(pending) > threads:
                    yield awaited(pending.popleft(), tick)
            while pending:
                yield awaited(pending.popleft(), tick)
        finally:
            gone.set()
            for future in pending:
                future.cancel()


class Spares(Generic[T]):
    """Things that one thread at a time may use, made when all are in use: a network in each thread."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: queue.SimpleQueue[T] = queue.SimpleQueue()

    @contextmanager
    def lent(self) -> Iterator[T]:
        """One of them, given back at the block's end."""
        try:
            one = self._idle.get_nowait()
        except queue.Empty:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.put(one)

    def idle(self) -> Iterator[T]:
        """Take out those that nobody uses."""
        while True:
            try:
                yield self._idle.get_nowait()
            except queue.Empty:
                return
