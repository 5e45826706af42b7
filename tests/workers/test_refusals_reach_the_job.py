"""Files that are no clips, through the real pipeline: the job ends rejected, with the command line's own code."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.jobs.tables import Job
from tests.workers.bench import Bench
from workers.pipeline import CorePipeline


@pytest.mark.parametrize(
    ("clip", "code"),
    [
        (b"hello, I am not a video\n" * 50, "not_a_video"),
        (b"", "media_empty"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "media_format_refused"),
    ],
)
def test_what_is_no_clip_is_rejected(tmp_path: Path, clip: bytes, code: str) -> None:
    bench = Bench(tmp_path, clip)
    bench.run(CorePipeline())
    with bench.database.read() as session:
        job = session.get_one(Job, bench.job)
    assert (job.state, job.error_code) == ("rejected", code)
    assert job.error_hint
    assert str(tmp_path) not in f"{job.error_message}{job.error_hint}"
    assert bench.bundles() == []
    assert list(bench.settings.work_dir.iterdir()) == []
    bench.database.close()
