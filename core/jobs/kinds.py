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


@dataclass(frozen=True)
class StageKind:
    """One stage of a kind of job."""

    name: str
    queue: str
    weight: float
    """Share of the job's time, for its progress; the weights of a job add up to 1."""


STAGES: dict[JobKind, tuple[StageKind, ...]] = {
    JobKind.ADAPT: (
        StageKind("preprocess", "cpu", 0.25),
        StageKind("face", "train", 0.45),
        StageKind("mouth", "train", 0.15),
        StageKind("fuse", "train", 0.10),
        StageKind("package", "cpu", 0.05),
    ),
    JobKind.RENDER: (StageKind("render", "render", 1.0),),
}


def overall_progress(kind: JobKind, done: int, fraction: float) -> float:
    """Progress of a job, 0..1, when `done` stages are finished and `fraction` (0..1) of the next one is."""
    stages = STAGES[kind]
    finished = sum(stage.weight for stage in stages[:done])
    current = stages[done].weight * fraction if done < len(stages) else 0.0
    return min(1.0, finished + current)
