"""The person-specific synthesiser: structure and motion fields, hook, compositing."""

from core.avatar.avatar import Avatar
from core.avatar.gaussians import Gaussians
from core.avatar.motion import FaceField, Motion, MouthField, face_mouth_hook, hook_extremes, hook_rows
from core.avatar.synthesiser import Synthesiser

__all__ = [
    "Avatar",
    "FaceField",
    "Gaussians",
    "Motion",
    "MouthField",
    "Synthesiser",
    "face_mouth_hook",
    "hook_extremes",
    "hook_rows",
]
