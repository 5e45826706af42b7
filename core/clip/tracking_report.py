"""How true and how steady head tracking is: the figures of docs/clip.md.

Run: `python -m core.clip.tracking_report CLIPS_DIR... [--sample SAMPLE_DIR] [--work DIR] [--json]`. Clips are judged
against their own landmarks, the generated sample (`likeness sample`) against its truth. Measures; decides nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.camera import Camera
from core.clip.alignment import align_track
from core.clip.build import WORKING_SIDE
from core.clip.canonical import head_anchors
from core.clip.expression import calibrated_expression, expression_range, raw_expression
from core.clip.footage import Footage, markdown_table, read_folder, read_footage, read_pictures
from core.clip.landmarks import mouth_opening
from core.clip.layout import FPS
from core.clip.poses import Floats, project
from core.clip.rotations import rotation_from_vector, vector_from_rotation
from core.clip.tracking import FOCAL_AT_512, Track, track_head

CAMERA = Camera.centred(FOCAL_AT_512, WORKING_SIDE)
_SLOW_HZ = 2.0
_BLINKING = 0.1
_ANCHORS = ("nose", "ear_left", "ear_right", "crown")


def main() -> None:
    """Print one table for the clips and one for the sample, or both as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*", help="folders of MP4 files, one person each")
    parser.add_argument("--sample", type=Path, help="folder that `likeness sample` made")
    parser.add_argument("--work", type=Path, help="landmarks and speech are kept here from one run to the next")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    clips = {
        name: clip_figures(footage)
        for folder in arguments.folders
        for name, footage in read_folder(folder, arguments.work).items()
    }
    sample = {}
    if arguments.sample:
        film = arguments.sample / "sample.mp4"
        footage, pictures = read_footage(film, arguments.work), read_pictures(film)
        with np.load(arguments.sample / "truth.npz", allow_pickle=False) as truth:
            sample = sample_figures(footage, pictures, {name: truth[name] for name in truth.files})
    if arguments.json:
        sys.stdout.write(json.dumps({"clips": clips, "sample": sample}, indent=1) + "\n")
        return
    for rows, corner in ((clips, "clip"), (sample, "sample")):
        if rows:
            sys.stdout.write(markdown_table(rows, corner))


def clip_figures(footage: Footage) -> dict[str, float]:
    """A clip tracked with and without smoothing.

    Returns:
        `frames`, `unseen`, `jumps`; `rmse_px` of the rigid points, `rise_percent` of it by smoothing; `slow_power_low`
        and `slow_power_high`, least and largest share of their power below 2 Hz that the four anchors keep; and, for
        each anchor, RMS acceleration in pixels per frame^2 before (`..._rough`) and after smoothing.
    """
    jumps = tuple(int(jump) for jump in footage.jumps if 0 < jump < len(footage.seen))
    rough = track_head(footage.landmarks, footage.seen, CAMERA, jumps=jumps, smooth=False)
    track = track_head(footage.landmarks, footage.seen, CAMERA, jumps=jumps)
    power = slow_power(track) / slow_power(rough)
    figures = {
        "frames": len(footage.seen),
        "unseen": int((~footage.seen).sum()),
        "jumps": len(jumps),
        "rmse_px": round(track.rmse, 3),
        "rise_percent": round(100 * (track.rmse / rough.rmse - 1), 2),
        "slow_power_low": round(float(power.min()), 4),
        "slow_power_high": round(float(power.max()), 4),
    }
    before, after = acceleration(rough, jumps), acceleration(track, jumps)
    for name, one, other in zip(_ANCHORS, before, after, strict=True):
        figures |= {f"{name}_rough": round(float(one), 2), name: round(float(other), 2)}
    return figures


def acceleration(track: Track, jumps: tuple[int, ...] = ()) -> Floats:
    """[4] RMS second difference of nose tip, ears and crown in the picture, pixels; none is taken across a jump."""
    second = np.diff(project(head_anchors(), track.rotations, track.translations, CAMERA), 2, axis=0)
    counted = np.ones(len(second), np.bool_)
    for jump in jumps:
        counted[max(jump - 2, 0) : jump] = False
    return np.asarray(np.sqrt((second[counted] ** 2).sum(-1).mean(0)))


def slow_power(track: Track) -> Floats:
    """[4] power of the anchors' motion in the picture above 0 and below 2 Hz."""
    place = project(head_anchors(), track.rotations, track.translations, CAMERA)
    spectrum = np.fft.rfft((place - place.mean(0)) * np.hanning(len(place))[:, None, None], axis=0)
    frequency = np.fft.rfftfreq(len(place), 1 / FPS)
    slow = (frequency > 0) & (frequency < _SLOW_HZ)
    return np.asarray((np.abs(spectrum[slow]) ** 2).sum((0, 2)))


def sample_figures(
    footage: Footage, pictures: npt.NDArray[np.uint8], truth: dict[str, npt.NDArray[np.generic]]
) -> dict[str, dict[str, float]]:
    """The generated sample against its truth, tracked by its `landmarks` and then `aligned` to its pictures.

    Returns:
        for each of the two, degrees of head rotation: `turn_mean`, `turn_max`, `turn_mean_blinks`, `turn_mean_else`,
        after one turn of head space for the whole clip, whose size is `turn_of_space`; `rmse_px` of the rigid points;
        correlations `mouth`, `blink`; `landmark_median_px`.
    """
    part = slice(int(footage.start), int(footage.start) + len(footage.seen))
    track = track_head(footage.landmarks, footage.seen, CAMERA)
    aligned, _ = align_track(pictures.__getitem__, footage.landmarks, footage.seen, track, CAMERA, lambda: None)
    made = np.asarray(truth["rotations"][part], np.float64)
    blink = np.asarray(truth["blink"][part], np.float64)
    landmarks = np.asarray(truth["landmarks"][part], np.float64)
    raw = raw_expression(footage.blendshapes)
    found_blink = calibrated_expression(raw, expression_range(raw[footage.seen]))[:, -1]
    opening = mouth_opening(footage.landmarks), mouth_opening(landmarks)
    seen = {
        "mouth": round(float(np.corrcoef(*opening)[0, 1]), 3),
        "blink": round(float(np.corrcoef(found_blink, blink)[0, 1]), 3),
        "landmark_median_px": round(
            float(np.median(np.linalg.norm(footage.landmarks[..., :2] - landmarks, axis=-1))), 2
        ),
    }
    both = {"landmarks": track, "aligned": aligned}
    return {name: _turns(one, made, blink > _BLINKING) | seen for name, one in both.items()}


def _turns(track: Track, made: Floats, blinking: npt.NDArray[np.bool_]) -> dict[str, float]:
    errors, turn = turn_errors(track.rotations, made)
    return {
        "turn_mean": round(float(errors.mean()), 3),
        "turn_max": round(float(errors.max()), 2),
        "turn_mean_blinks": round(float(errors[blinking].mean()), 3),
        "turn_mean_else": round(float(errors[~blinking].mean()), 3),
        "turn_of_space": round(turn, 2),
        "rmse_px": round(track.rmse, 3),
    }


def turn_errors(found: Floats, made: Floats) -> tuple[Floats, float]:
    """Degrees between found and made rotations [T, 3, 3], up to one turn of head space, and that turn in degrees."""
    between = made.transpose(0, 2, 1) @ found
    space = between[0]
    for _ in range(20):
        space = space @ rotation_from_vector(vector_from_rotation(space.T @ between).mean(0))
    rest = np.linalg.norm(vector_from_rotation(space.T @ between), axis=-1)
    return np.degrees(rest), float(np.degrees(np.linalg.norm(vector_from_rotation(space))))


if __name__ == "__main__":
    main()
