"""`python -m tests.workers.long_render`: one long speech rendered by one worker and by several, and compared.

Prints whether all decoded frames are the same, how long each took, and the most memory that one process of a worker
held. See docs/platform.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from core.bundle import read_bundle
from core.jobs.database import Database
from core.media.binary import ffmpeg_path
from core.sample import generate_sample
from core.settings import load_settings
from core.storage import open_store
from tests.workers.bench import Bench
from tests.workers.chaos import SMALL
from tests.workers.fleet import Fleet, running_fleet, wait_until
from tests.workers.small_worker import register_tiny


def long_speech(path: Path, short: Path, minutes: float) -> Path:
    """`short` over and over, with a pause of its own length in silence now and then, for so many minutes."""
    with wave.open(str(short)) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    wanted = round(minutes * 60 * rate)
    phrase = np.concatenate([samples, samples, np.zeros(rate, np.int16)])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.resize(phrase, wanted).astype("<i2").tobytes())
    return path


def frame_hashes(video: Path) -> str:
    """One hash over the sha256 of every decoded frame and its time."""
    words = ["-v", "error", "-i", str(video), "-map", "0:v", "-f", "framehash", "-hash", "sha256", "-"]
    told = subprocess.run([ffmpeg_path(), *words], check=True, capture_output=True).stdout
    return hashlib.sha256(told).hexdigest()


class MemoryWatch:
    """The most memory (resident set, MiB) that any process below the workers held, by name."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak: dict[str, float] = {}

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for worker in self._fleet.workers:
                for process in worker.children():
                    try:
                        name, held = process.name(), process.memory_info().rss / 2**20
                    except psutil.Error:
                        continue
                    self.peak[name] = max(self.peak.get(name, 0.0), round(held))


def render(folder: Path, bundle: Path, speech: Path, workers: int, segment_seconds: float) -> dict[str, Any]:
    """Render on a platform of its own, so that nothing is found there; returns what was measured."""
    settings = load_settings(data_dir=folder / "data", segment_seconds=segment_seconds, worker_threads=1)
    database, store = Database(settings.database), open_store(settings)
    bench = Bench.of(settings, database, store, folder)
    bench.add_identity_with(bundle)
    (_, job), video = bench.add_render(speech.read_bytes()), folder / "video.mp4"
    began, names = time.monotonic(), [f"render-{number}" for number in range(workers)]
    with running_fleet(settings, database, SMALL, names) as fleet, MemoryWatch(fleet) as watch:
        wait_until(lambda: bench.job_row(job).finished_at is not None, "the render", 6 * 3600)
    seconds = time.monotonic() - began
    done = bench.job_row(job)
    if done.state != "succeeded":
        raise SystemExit(f"the render ended {done.state}: {done.error_code} {done.error_message}")
    output = bench.stages(job)[-1].output or {}
    store.fetch(str(output["key"]), video)
    told = {
        "workers": workers,
        "seconds": round(seconds, 1),
        "segments": sum(run.stage == "synthesise" for run in bench.stages(job)),
        "frames": output["measured"]["frames"],
        "frame_hash": frame_hashes(video),
        "peak_mib": watch.peak,
        "video_bytes": video.stat().st_size,
    }
    database.close()
    return told


def made_bundle(folder: Path) -> Path:
    """A bundle of the generated person that learned for a moment only."""
    from core import pipeline
    from core.progress import StageContext

    register_tiny()
    sample = generate_sample(folder / "sample", seconds=6.0, size=256)
    bundle = folder / "avatar.likeness"
    options = pipeline.AdaptOptions(profile="tiny", umf="none", seconds=5.0)
    pipeline.adapt(sample.video, folder / "work", bundle, options, StageContext())
    return bundle


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", default="1,4", help="numbers of workers to compare")
    parser.add_argument("--bundle", type=Path, help="an avatar; else a small one is made")
    parser.add_argument("--speech", type=Path, help="a 16-bit mono WAV to repeat; else the sample's")
    parser.add_argument("--segment-seconds", type=float, default=60.0)
    parser.add_argument("--data", type=Path, help="where to work, with some GB of room; else a temporary folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="likeness-long-", dir=asked.data) as scratch:
        folder = Path(scratch)
        bundle = asked.bundle or made_bundle(folder)
        short = asked.speech or generate_sample(folder / "sample", seconds=6.0, size=256).speech_a
        speech = long_speech(folder / "speech.wav", short, asked.minutes)
        runs = []
        for workers in (int(number) for number in asked.workers.split(",")):
            place = folder / f"with-{workers}"
            place.mkdir()
            runs.append(render(place, bundle, speech, workers, asked.segment_seconds))
            sys.stderr.write(json.dumps(runs[-1]) + "\n")
        same = len({run["frame_hash"] for run in runs}) == 1
        size = read_bundle(bundle).manifest.size
    most = max(peak for run in runs for peak in run["peak_mib"].values())
    told = {"minutes": asked.minutes, "size": size, "runs": runs, "same_frames": same, "most_mib": most}
    print(json.dumps(told, indent=2))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
