"""The kinds of job and their stages, in order. A stage names the queue (what it needs), not how it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

QUEUES = ("cpu", "train", "render")
PROFILES = ("draft", "standard", "paper")


class JobKind(StrEnum):
    """What a job makes."""

    ADAPT = "adapt"
    """One person's video -> an avatar bundle."""
    RENDER = "render"
    """Speech + bundle -> one video."""
    PRETRAIN = "pretrain"
    """Clips of many people -> a universal motion field."""


@dataclass(frozen=True)
class StageKind:
    """One stage of a kind of job."""

    name: str
    queue: str
    weight: float
    """Share of the job's time, for its progress; the weights of a job add up to 1."""


STAGES: dict[JobKind, tuple[StageKind, ...]] = {
    JobKind.ADAPT: (
        StageKind("intake", "cpu", 0.05),
        StageKind("preprocess", "cpu", 0.20),
        StageKind("adapt-face", "train", 0.45),
        StageKind("adapt-mouth", "train", 0.15),
        StageKind("fuse", "train", 0.10),
        StageKind("package", "cpu", 0.05),
    ),
    JobKind.RENDER: (
        StageKind("speech", "cpu", 0.10),
        StageKind("synthesise", "render", 0.85),
        StageKind("mux", "cpu", 0.05),
    ),
    JobKind.PRETRAIN: (StageKind("corpus", "cpu", 0.60), StageKind("prior", "train", 0.40)),
}
"""`synthesise` is the stage that may run in several segments at the same time."""


def overall_progress(kind: JobKind, position: int, fraction: float) -> float:
    """Progress of a job, 0..1, when `fraction` (0..1) of the stage at `position` is done."""
    stages = STAGES[kind]
    finished = sum(stage.weight for stage in stages[:position])
    current = stages[position].weight * fraction if position < len(stages) else 0.0
    return min(1.0, finished + current)
