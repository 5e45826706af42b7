"""The whole job with nothing put in anything's place: a clip becomes an avatar, and the avatar speaks.

The client, the API, Postgres, Valkey, the Celery worker with the real pipeline, and S3.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cli.services import Servers
from core.media.probe import probe
from core.sample import Sample
from tests.stack.platform_on_servers import REAL_SERVE, platform_on

pytestmark = pytest.mark.installation


def test_a_clip_becomes_an_avatar_that_speaks(
    stack: Servers, new_database: Callable[[], str], sample: Sample, tmp_path: Path
) -> None:
    with platform_on(stack, new_database(), tmp_path, REAL_SERVE, LIKENESS_LEASE_SECONDS="60") as platform:
        client = platform.client
        identity = client.create_identity(client.upload(sample.video), consent_attested=True, profile="draft")
        client.wait(identity.job, timeout_s=1200)
        bundle = client.identity(identity.id).bundle
        assert bundle is not None
        client.download_bundle(identity.id, tmp_path / "sample.likeness")

        render = client.create_render(identity.id, client.upload(sample.speech_b))
        client.wait(render.job, timeout_s=600)
        done = client.render(render.id)
        assert done.output is not None
        assert done.result is not None

        with_key = {"Authorization": f"Bearer {platform.api_key}"}
        answer = httpx.get(f"{platform.url}/v1/renders/{render.id}/output", headers=with_key)
        assert answer.status_code == 307
        assert answer.headers["Location"].startswith(stack.seaweedfs.url)
        video = tmp_path / "video.mp4"
        video.write_bytes(httpx.get(answer.headers["Location"]).content)  # the link itself is the permission
        assert video.stat().st_size == done.output.size
        assert abs(probe(video).duration_s - done.result["seconds"]) < 0.2
        (key,) = [one.key for one in platform.store.objects("") if identity.id in one.key]
        assert platform.store.verify(key).sha256 == bundle.sha256
        assert platform.orphans() == []
