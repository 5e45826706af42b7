"""The embedded platform end to end: the client, a real server, a real broker folder, a real worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from likeness_client import InputRejectedError, JobFailedError, NotFoundError, UnauthorizedError
from likeness_client.client import Client
from tests.workers.running_platform import LONG_FACE, Running, all_steps, steps, wait_for


def test_a_clip_becomes_a_bundle_and_two_videos(running: Running, tmp_path: Path) -> None:
    client = running.client
    sent: list[float] = []
    upload = client.upload(running.clip(steps=6, pause=0.05), on_progress=sent.append)
    assert sent[-1] == 1.0
    identity = client.create_identity(upload, consent_attested=True, name="tiny", profile="draft")
    seen: list[tuple[str, float]] = []
    job = client.wait(identity.job, on_progress=lambda now: seen.append((now.state, now.progress)), poll_s=0.1)
    assert [stage["name"] for stage in job.stages] == [
        "intake",
        "preprocess",
        "adapt-face",
        "adapt-mouth",
        "fuse",
        "package",
    ]
    progress = [fraction for _, fraction in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    client.download_bundle(identity.id, tmp_path / "tiny.likeness")
    assert steps(tmp_path / "tiny.likeness") == all_steps(6, 6)

    speeches = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}.wav"
        path.write_text(f"steps=2 name={name}")
        speeches.append(client.upload(path))
    batch = client.create_batch(identity.id, speeches, label=False)
    for render in batch.renders:
        client.wait(render.job, poll_s=0.1)
    done = client.batch(batch.id)
    assert done.state == "succeeded"
    assert done.renders[0].result == {"frames": 75, "seconds": 3.0, "fps_model": 99.5, "fps_total": 50.0}
    client.download_render(done.renders[1].id, tmp_path / "two.mp4")
    assert (tmp_path / "two.mp4").read_text() == "video of steps=2 name=two"
    assert next(one.id for one in client.identities()) == identity.id

    folders = [running.settings.work_dir / job for job in (identity.job, *(render.job for render in batch.renders))]
    wait_for(lambda: not any(folder.exists() for folder in folders), "the work folders to be removed")


def test_events_follow_a_job_from_its_start_to_its_end(running: Running) -> None:
    identity = running.submit(steps=3)
    events = list(running.client.events(running.job_of(identity)))
    assert events[0].type == "job.queued"
    assert events[-1].type == "job.succeeded"
    started = [event.data["stage"] for event in events if event.type == "stage.started"]
    assert started == ["intake", "preprocess", "adapt-face", "adapt-mouth", "fuse", "package"]


def test_refused_input_reaches_the_caller_with_its_code_and_hint(running: Running) -> None:
    job = running.job_of(running.submit(reject="no_face"))
    with pytest.raises(InputRejectedError) as rejected:
        running.client.wait(job, poll_s=0.1)
    assert (rejected.value.code, rejected.value.hint) == ("no_face", "Record another one.")
    assert len(running.client.job(job).attempts) == 1
    assert not (running.settings.work_dir / job).exists()


def test_an_unexpected_failure_shows_nothing_of_the_server(running: Running) -> None:
    job = running.job_of(running.submit(fail=1))
    with pytest.raises(JobFailedError) as failed:
        running.client.wait(job, poll_s=0.1)
    assert failed.value.code == "internal_error"
    assert "secret" not in str(running.client.job(job).raw)
    assert "a secret of the server" in running.log()
    assert job in running.log()


def test_a_cancelled_job_goes_on_from_its_checkpoint(running: Running, tmp_path: Path) -> None:
    identity = running.submit(**LONG_FACE)
    job = running.job_of(identity)
    running.until_progress(job, "adapt-face", 0.2)
    running.client.cancel(job)
    wait_for(lambda: running.client.job(job).finished, "the cancel", seconds=5)
    assert running.client.job(job).state == "cancelled"

    assert running.client.retry(job).state == "queued"
    done = running.client.wait(job, poll_s=0.1)
    face = [attempt for attempt in done.attempts if attempt["stage"] == "adapt-face"]
    assert [attempt["outcome"] for attempt in face] == ["cancelled", "succeeded"]
    assert face[1]["resumed_from"] > 0.1
    running.client.download_bundle(identity, tmp_path / "tiny.likeness")
    assert steps(tmp_path / "tiny.likeness") == all_steps(2, 30)


def test_the_client_says_what_is_wrong(running: Running) -> None:
    with pytest.raises(NotFoundError) as missing:
        running.client.job("job_" + "0" * 32)
    assert (missing.value.status, missing.value.code) == (404, "not_found")
    assert missing.value.request_id
    with Client(running.url, "lk_wrong") as stranger, pytest.raises(UnauthorizedError):
        stranger.umfs()


def test_only_one_platform_on_a_data_folder(running: Running) -> None:
    from cli.serve import embedded_platform
    from core.errors import UsageError

    with pytest.raises(UsageError) as refused, embedded_platform(running.settings, ["false"]):
        pass
    assert refused.value.code == "data_dir_in_use"


def test_the_brokers_folder_is_private(running: Running) -> None:
    folders: list[Any] = [running.settings.broker_dir, *running.settings.broker_dir.iterdir()]
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in folders)
