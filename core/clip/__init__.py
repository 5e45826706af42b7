"""From a person's video to a tracked, parsed, timed Clip. Knows nothing of what is learned from it."""

from core.clip.build import build_clip
from core.clip.inspection import inspect_clip
from core.clip.intake import ClipOptions

__all__ = ["ClipOptions", "build_clip", "inspect_clip"]
