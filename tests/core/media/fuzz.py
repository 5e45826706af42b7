"""Reads damaged films as an intake does: `python -m tests.core.media.fuzz --count 500 --seed 0`, from the root.

Each film must end in pictures and sound, or in an error of ours with a hint, in bounded time and memory. Prints what
they ended in, and exits 1 where one hung, crashed, raised anything else, or took more than 700 MB (our process and its
ffmpeg together). The reading runs in processes of their own, which this one watches.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import LikenessError
from core.media import (
    check_speech_level,
    decode_audio,
    decode_frames,
    decode_frames_full,
    find_shots,
    longest_shot,
    probe,
)

from .mutants import mutant, whole_films

ROOT = Path(__file__).resolve().parents[3]
MOST_MB = 700.0
PATIENCE_S = 600.0
"""A film that has not ended by then hangs. The fence's own limits are tighter; a busy machine is not a hang."""


@dataclass(frozen=True)
class Outcome:
    """What became of one film."""

    film: str
    ended: str
    """A code, `read`, or for a violation `hang`, `crash`, or the name of an exception that is not ours."""
    wall_s: float
    cpu_s: float
    """Of our process and its ffmpeg."""
    peak_mb: float
    """The largest our process has been so far, plus the largest ffmpeg so far: never less than the film's own."""
    violation: bool


def read_film(path: Path) -> str:
    """Everything that an intake reads of a film. Returns `read`, or the code of our refusal."""
    try:
        info = probe(path)
        samples = decode_audio(path, origin_s=info.origin_s, seconds=info.duration_s + 10)
        if not np.isfinite(samples).all():
            raise ValueError("sound is not finite")
        check_speech_level(samples)
        shot = longest_shot(find_shots(decode_frames_full(path, info, 128)))
        for frame in decode_frames(path, info, crop=None, size=512, start_frame=shot.start, count=shot.count):
            if frame.shape != (512, 512, 3):
                raise ValueError(f"a frame of {frame.shape}")
    except LikenessError as error:
        if not error.hint or error.retryable:
            raise
        return error.code
    return "read"


def fuzz(count: int, seed: int, processes: int = 1, first: int = 0) -> list[Outcome]:
    """Read damaged films `first` ... `first + count` of the run `seed`, so many processes at a time."""
    with tempfile.TemporaryDirectory() as scratch:
        films = whole_films(Path(scratch))

        def read(part: int) -> list[Outcome]:
            outcomes: list[Outcome] = []
            with _Reader() as reader:
                for number in range(first + part, first + count, processes):
                    name, data = mutant(films, seed, number)
                    path = Path(scratch) / name
                    path.write_bytes(data)
                    outcomes.append(reader.read(path))
                    path.unlink()
            return outcomes

        with ThreadPoolExecutor(processes) as pool:
            parts = list(pool.map(read, range(processes)))
    return sorted((one for part in parts for one in part), key=lambda one: one.film)


class _Reader:
    """A child that reads films, and is replaced where it hangs or dies."""

    def __enter__(self) -> _Reader:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _start(self) -> None:
        words = [sys.executable, "-m", "tests.core.media.fuzz", "--child"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._child = subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, **pipes)  # type: ignore[call-overload]

    def _end(self) -> None:
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.communicate()

    def read(self, path: Path) -> Outcome:
        begun = time.monotonic()
        self._child.stdin.write(f"{path}\n".encode())
        self._child.stdin.flush()
        ready, _, _ = select.select([self._child.stdout], [], [], PATIENCE_S)
        line = self._child.stdout.readline() if ready else b""
        wall = time.monotonic() - begun
        if not line:
            self._end()
            self._start()
            return Outcome(path.name, "crash" if ready else "hang", wall, 0.0, 0.0, violation=True)
        told = json.loads(line)
        bad = told["violation"] or told["peak_mb"] > MOST_MB
        if bad:  # its peak would be that of all after it
            self._end()
            self._start()
        return Outcome(path.name, told["ended"], wall, told["cpu_s"], told["peak_mb"], bad)


def _used() -> tuple[float, float]:
    """CPU seconds of this process and its ended children, and the sum of both peaks in MB.

    Our own peak is the kernel's for this program: `ru_maxrss` would count what the process that started us held.
    """
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return seconds, (int(peak.split()[1]) + children.ru_maxrss) / 1024


def _child() -> None:
    for line in sys.stdin:
        before, _ = _used()
        violation = False
        try:
            ended = read_film(Path(line.rstrip("\n")))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            ended, violation = f"{type(error).__name__}: {error}"[:200], True
        after, peak = _used()
        print(
            json.dumps({"ended": ended, "violation": violation, "cpu_s": after - before, "peak_mb": peak}), flush=True
        )


def report(outcomes: Sequence[Outcome]) -> bool:
    """Print the table. Returns whether there was no violation."""
    good = [one for one in outcomes if not one.violation]
    for code, count in Counter(one.ended for one in good).most_common():
        print(f"{code:24} {count:4}")
    slowest = max(outcomes, key=lambda one: one.cpu_s)
    print(f"most processor time      {slowest.cpu_s:.1f} s ({slowest.film}, {slowest.wall_s:.1f} s on the clock)")
    print(f"most memory              {max(one.peak_mb for one in outcomes):.0f} MB (our process and its ffmpeg)")
    print(f"violations               {len(outcomes) - len(good)} of {len(outcomes)}")
    for one in outcomes:
        if one.violation:
            print(f"  {one.film}: {one.ended} ({one.wall_s:.0f} s, {one.peak_mb:.0f} MB)")
    return len(good) == len(outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description="Read damaged films as an intake does.")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first film, to look at one again")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.child:
        _child()
    else:
        sys.exit(0 if report(fuzz(wanted.count, wanted.seed, wanted.processes, wanted.first)) else 1)


if __name__ == "__main__":
    main()
