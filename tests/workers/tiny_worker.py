"""Test-only entry point: a worker whose pipeline is tiny, so that the platform is tested without the science.

The tiny pipeline really works through steps, keeps a checkpoint after each, and obeys its context. The video is a text
of options: `steps=3 face=30 pause=0.05 reject=no_face fail=1 die=1`. Steps that were done are appended to `steps.log`
beside the checkpoint, and end up in the bundle, where a test can count them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputRefusedError
from core.progress import StageContext
from core.settings import load_settings
from workers.app import run_worker


class TinyPipeline:
    """A `workers.pipeline.Pipeline` that counts."""

    def adapt_stage(
        self, stage: str, video: Path, workdir: Path, bundle: Path, options: Mapping[str, Any], context: StageContext
    ) -> None:
        wanted = read_options(video)
        workdir.mkdir(parents=True, exist_ok=True)
        if stage == "preprocess" and "reject" in wanted:
            raise InputRefusedError(wanted["reject"], "The clip can't be used.", "Record another one.")
        if stage == "preprocess" and "fail" in wanted:
            raise RuntimeError("a secret of the server: /etc/passwd")
        if stage == "face" and "die" in wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        if stage == "package":
            with zipfile.ZipFile(bundle, "w") as archive:
                archive.writestr("steps.log", (workdir / "steps.log").read_text())
                archive.writestr("manifest.json", json.dumps({"options": dict(options)}))
            return
        count_steps(
            stage, int(wanted.get(stage, wanted.get("steps", 3))), float(wanted.get("pause", 0.0)), workdir, context
        )

    def render(
        self, bundle: Path, audio: Path, output: Path, options: Mapping[str, Any], context: StageContext
    ) -> dict[str, object]:
        del options
        wanted = read_options(audio)
        with zipfile.ZipFile(bundle) as archive:
            archive.getinfo("steps.log")
        count_steps("render", int(wanted.get("steps", 3)), float(wanted.get("pause", 0.0)), output.parent, context)
        output.write_bytes(b"video of " + audio.read_bytes())
        return {"output": str(output), "frames": 75, "seconds": 3.0, "fps_model": 99.5, "fps_total": 50.0}


def read_options(path: Path) -> dict[str, str]:
    return dict(word.split("=", 1) for word in path.read_text().split())


def count_steps(stage: str, steps: int, pause: float, folder: Path, context: StageContext) -> None:
    checkpoint = folder / f"{stage}.checkpoint"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(done, steps):
        context.check()
        time.sleep(pause)
        with (folder / "steps.log").open("a") as log:
            log.write(f"{stage} {step}\n")
        partial = checkpoint.with_suffix(".partial")
        partial.write_text(str(step + 1))
        partial.replace(checkpoint)
        context.report(stage, (step + 1) / steps)


if __name__ == "__main__":
    run_worker(load_settings(), sys.argv[1].split(","), TinyPipeline)
