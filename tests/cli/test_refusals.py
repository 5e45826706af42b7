"""What can't be used is refused: exit code 3, a stable code, a hint; no output, no orphan, no stack trace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.media import ffmpeg_path
from core.sample import Sample

from .conftest import Run

Maker = Callable[[Sample, Path], None]


def transformed(*words: str) -> Maker:
    def make(sample: Sample, target: Path) -> None:
        run_ffmpeg("-i", str(sample.video), *words, str(target))

    return make


def run_ffmpeg(*words: str) -> None:
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *words], check=True, capture_output=True)


def written(content: bytes) -> Maker:
    return lambda _, target: target.write_bytes(content) and None


def truncated(sample: Sample, target: Path) -> None:
    whole = sample.video.read_bytes()
    target.write_bytes(whole[: len(whole) * 6 // 10])


def concat_script(sample: Sample, target: Path) -> None:
    target.write_text(f"ffconcat version 1.0\nfile '{sample.video}'\n")


def enormous(_: Sample, target: Path) -> None:
    words = ("-f", "lavfi", "-i", "color=s=16000x16000:r=1:d=1", "-f", "lavfi", "-i", "sine=d=4")
    run_ffmpeg(*words, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(target))


def half_out(sample: Sample, target: Path) -> None:
    with np.load(sample.truth) as truth:
        across = truth["landmarks"][..., 0]
    left = int(across.min() + 0.3 * (across.max() - across.min()))
    side = (256 - left) // 2 * 2
    run_ffmpeg("-i", str(sample.video), "-vf", f"crop={side}:{side}:{left}:30", *FAST, str(target))


FAST = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy")
REFUSED: dict[str, tuple[str, Maker]] = {
    "no face": ("no_face", transformed("-vf", "gblur=sigma=40", *FAST)),
    "two faces of like size": ("several_faces", transformed("-vf", "split[a][b];[a][b]hstack", *FAST)),
    "face too small": ("face_too_small", transformed("-vf", "scale=176:176,pad=320:320:72:72", *FAST)),
    "face leaves the frame": ("face_leaves_frame", half_out),
    "shorter than 3 s": ("clip_too_short", transformed("-t", "2", *FAST)),
    "no audio track": ("no_audio", transformed("-an", "-c:v", "copy")),
    "silence": ("audio_silent", transformed("-af", "volume=0", "-c:v", "copy", "-c:a", "aac")),
    "a text file named .mp4": ("not_a_video", written(b"This is no video at all, only words.\n" * 50)),
    "a truncated MP4": ("media_truncated", truncated),
    "an ffconcat script named .mp4": ("media_format_refused", concat_script),
    "a 16000x16000 video": ("media_too_large", enormous),
    "a 0-byte file": ("media_empty", written(b"")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_adapt_and_inspect_refuse(case: str, likeness: Run, sample: Sample, tmp_path: Path) -> None:
    code, make = REFUSED[case]
    video, bundle = tmp_path / "clip.mp4", tmp_path / "out.likeness"
    make(sample, video)
    for words in (("adapt", video, "-o", bundle, "--profile", "draft"), ("inspect", video)):
        done = likeness(*words)
        assert (done.code, done.out) == (3, ""), done.err
        assert code in done.err and "hint:" in done.err
        assert "Traceback" not in done.err
        assert done.orphans == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]


@pytest.mark.parametrize("command", ["adapt", "inspect"])
def test_a_path_that_does_not_exist_is_wrong_usage(command: str, likeness: Run, tmp_path: Path) -> None:
    words = ["-o", tmp_path / "out.likeness"] if command == "adapt" else []
    done = likeness(command, tmp_path / "nothing.mp4", *words)
    assert done.code == 2
    assert "file_not_found" in done.err


def test_an_unknown_profile_is_wrong_usage(likeness: Run, sample: Sample, tmp_path: Path) -> None:
    done = likeness("adapt", sample.video, "-o", tmp_path / "x.likeness", "--profile", "best")
    assert done.code == 2
    assert "profile_unknown" in done.err


def test_inspect_says_in_json_what_it_measured(likeness: Run, sample: Sample) -> None:
    done = likeness("inspect", sample.video, "--profile", "draft", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["verdict"].startswith("usable")
    assert found["duration_s"] == pytest.approx(5.0, abs=0.1)


def test_inspect_tells_a_person_what_it_measured_and_draws_a_sheet(
    likeness: Run, sample: Sample, tmp_path: Path
) -> None:
    done = likeness("inspect", sample.video, "--seconds", "3", "--sheet", tmp_path / "sheet.png")
    assert (done.code, done.out, done.orphans) == (0, "", []), done.err
    for told in ("usable, with warnings", "face_small", "hint: Film closer", "face height", "from 144 px", "speech"):
        assert told in done.err
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_a_sheet_for_a_folder_that_does_not_exist_is_wrong_usage(likeness: Run, sample: Sample, tmp_path: Path) -> None:
    done = likeness("inspect", sample.video, "--sheet", tmp_path / "nowhere" / "sheet.png")
    assert done.code == 2
    assert "folder_not_found" in done.err


def test_help_shows_examples(likeness: Run) -> None:
    done = likeness("inspect", "--help")
    assert done.code == 0
    assert "likeness inspect me.mp4 --sheet me.png" in " ".join(done.out.replace("│", " ").split())
