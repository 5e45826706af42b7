"""Test-only entry point: a worker with the real pipeline and one more profile, `tiny`, that learns for a moment only.

Every stage is the product's own; what comes out looks like nobody.
"""

from __future__ import annotations

import sys

from core.learn.profiles import PROFILES, BranchSchedule, Profile
from core.settings import load_settings
from workers.app import run_worker
from workers.pipeline import CorePipeline

TINY = Profile("tiny", 128, 200, 200, 100, BranchSchedule(30, 800, 3e-4), BranchSchedule(20, 300, 2e-4), 5)


def register_tiny() -> None:
    PROFILES["tiny"] = TINY


if __name__ == "__main__":
    register_tiny()
    run_worker(load_settings(), sys.argv[1].split(","), CorePipeline)
