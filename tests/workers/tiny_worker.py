"""Test-only entry point: a worker whose pipeline is tiny, so that the platform is tested without the science.

The tiny pipeline really works through steps, keeps a checkpoint after each, and obeys its context. The video is a text
of options: `steps=3 face=30 pause=0.05 reject=no_face fail=1 die=1 hold=200 away=1 clock=7200`. Steps that were done
are appended to the stage's log beside the checkpoint, and end up in the bundle, where a test can count them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputRefusedError
from core.jobs.kinds import JobKind
from core.progress import StageContext
from core.settings import load_settings
from core.storage import StorageUnavailableError
from workers.app import run_worker
from workers.pipeline import Made, Task

SHORT = {"adapt-face": "face", "adapt-mouth": "mouth", "synthesise": "render"}
LOGGED = ("preprocess", "adapt-face", "adapt-mouth", "fuse")


class TinyPipeline:
    """A `workers.pipeline.Pipeline` that counts."""

    def run(self, task: Task, context: StageContext) -> Made:
        task.workdir.mkdir(parents=True, exist_ok=True)
        if task.kind is JobKind.ADAPT:
            return self.adapt(task, context)
        return self.render(task, context)

    def files(self, task: Task) -> Sequence[str]:
        if task.stage in ("package", "mux"):
            return ()
        if task.stage == "synthesise":
            return (f"segment-{task.segment}",)
        # Packaging reads what fusing left, and nothing of the branches: so that carries all logs on.
        return tuple(f"{stage}.log" for stage in LOGGED) if task.stage == "fuse" else (f"{task.stage}.log",)

    def checkpoints(self, task: Task) -> Sequence[str]:
        return (f"{task.stage}.checkpoint", f"{task.stage}.log") if task.stage in LOGGED else ()

    def adapt(self, task: Task, context: StageContext) -> Made:
        wanted, stage = read_options(task.inputs["video"]), task.stage
        if stage == "intake":
            misbehave(wanted, context)
            (task.workdir / "intake.log").write_text("")
        elif stage == "package":
            with zipfile.ZipFile(task.output, "w") as archive:
                log = "".join((task.workdir / f"{name}.log").read_text() for name in LOGGED)
                archive.writestr("steps.log", log)
                archive.writestr("manifest.json", json.dumps({"options": dict(task.options)}))
        else:
            if stage == "adapt-face" and "die" in wanted:
                os.kill(os.getpid(), signal.SIGKILL)
            if stage == "adapt-face" and "deaf" in wanted:
                time.sleep(float(wanted["deaf"]))  # as native code that asks nobody whether to stop
            name = SHORT.get(stage, stage)
            steps = int(wanted.get(name, wanted.get("steps", 3)))
            count_steps(stage, steps, float(wanted.get("pause", 0.0)), task.workdir, context)
        return Made()

    def render(self, task: Task, context: StageContext) -> Made:
        wanted = read_options(task.inputs["audio"])
        if task.stage == "speech":
            with zipfile.ZipFile(task.inputs["bundle"]) as archive:
                archive.getinfo("steps.log")
            segments = int(wanted.get("segments", 1))
            (task.workdir / "speech.log").write_text(str(segments))
            return Made({"frames": 75}, segments)
        if task.stage == "synthesise":
            folder = task.workdir / f"work-{task.segment}"
            folder.mkdir(exist_ok=True)
            count_steps("synthesise", int(wanted.get("steps", 3)), float(wanted.get("pause", 0.0)), folder, context)
            if wanted.get("lose") == str(task.segment):
                raise RuntimeError("a segment that can't be made")
            (task.workdir / f"segment-{task.segment}").write_text(f"segment {task.segment}\n")
            return Made()
        segments = int((task.workdir / "speech.log").read_text())
        parts = "".join((task.workdir / f"segment-{number}").read_text() for number in range(segments))
        told = f" in {segments} segments" if parts.count("\n") == segments > 1 else ""
        task.output.write_bytes(b"video of " + task.inputs["audio"].read_bytes() + told.encode())
        return Made({"frames": 75, "seconds": 3.0, "fps_model": 99.5, "fps_total": 50.0})


def misbehave(wanted: dict[str, str], context: StageContext) -> None:
    """What the clip asks for that is not work."""
    if "reject" in wanted:
        raise InputRefusedError(wanted["reject"], "The clip can't be used.", "Record another one.")
    if "fail" in wanted:
        raise RuntimeError("a secret of the server: /etc/passwd")
    if "away" in wanted:
        raise StorageUnavailableError
    if "hold" in wanted:
        held = bytearray(os.urandom(1 << 20)) * int(wanted["hold"])
        while held:
            context.check()
            time.sleep(0.02)


def read_options(path: Path) -> dict[str, str]:
    return dict(word.split("=", 1) for word in path.read_text().split())


def count_steps(stage: str, steps: int, pause: float, folder: Path, context: StageContext) -> None:
    checkpoint = folder / f"{stage}.checkpoint"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    (folder / f"{stage}.log").touch()
    for step in range(done, steps):
        context.check()
        time.sleep(pause)
        with (folder / f"{stage}.log").open("a") as log:
            log.write(f"{SHORT.get(stage, stage)} {step}\n")
        partial = checkpoint.with_suffix(".partial")
        partial.write_text(str(step + 1))
        partial.replace(checkpoint)
        context.report(stage, (step + 1) / steps)


def set_clock_back(seconds: float) -> None:
    """All of this process's clocks are wrong from now on; the pool inherits that."""
    wall, steady = time.time, time.monotonic
    time.time = lambda: wall() - seconds
    time.monotonic = lambda: steady() - seconds


if __name__ == "__main__":
    with contextlib.suppress(KeyError):
        set_clock_back(float(os.environ["TINY_WORKER_CLOCK_BACK"]))
    run_worker(load_settings(), sys.argv[1].split(","), TinyPipeline)
