"""The six steps, as the stages that the command line runs in one process and the workers run one by one.

Each stage takes files and options, writes files into a work folder, reports through a `StageContext`, and does nothing
where its result is there already. It must not know of jobs, queues or terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.progress import StageContext

PROFILES = ("draft", "standard", "paper")
ADAPT_STAGES = ("preprocess", "face", "mouth", "fuse", "package")


@dataclass(frozen=True)
class AdaptOptions:
    """What a user may choose about an adaptation."""

    profile: str = "standard"
    """`draft` (256x256), `standard` (512x512), `paper` (512x512, the paper's iteration counts)."""
    start_s: float = 0.0
    """Seconds into the longest shot."""
    seconds: float = 5.0
    """How much of the shot to learn from."""
    device: str = "auto"
    umf: str = "none"
    seed: int = 0


def adapt_stage(
    stage: str, video: Path, workdir: Path, bundle: Path, options: AdaptOptions, context: StageContext
) -> None:
    """Run one of `ADAPT_STAGES`, in their order; files in `workdir` carry the state between them.

    A stage that was cut off goes on from its checkpoint in `workdir`; a finished one returns at once.
    """
    raise NotImplementedError


def adapt(
    video: Path, workdir: Path, bundle: Path, options: AdaptOptions, context: StageContext
) -> dict[str, object]:
    """All stages in one process. Returns the JSON of `likeness adapt` (DESIGN.md, section 3)."""
    raise NotImplementedError


@dataclass(frozen=True)
class RenderOptions:
    """What a user may choose about a render."""

    size: int | None = None
    """Output side in pixels; None is the avatar's own."""
    background: str | None = None
    """A colour (#rrggbb) or picture file in place of the recorded background."""
    label: bool = True
    """Burn the AI-generated label into the picture."""


def render(bundle: Path, audio: Path, output: Path, options: RenderOptions, context: StageContext) -> dict[str, object]:
    """Speech + avatar -> one MP4. Returns one item of the JSON of `likeness render`."""
    raise NotImplementedError


def inspect(video: Path, context: StageContext) -> dict[str, object]:
    """What we would make of this clip: verdict, codes, measurements; no training.

    Raises:
        InputRefusedError: the clip can't be used; its code says why.
    """
    raise NotImplementedError
