"""A platform that really runs: uvicorn, relay and reaper here, and a Celery worker process with the tiny pipeline."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.serve import embedded_platform
from core.settings import load_settings
from likeness_client import Client
from tests.workers.running_platform import ROOT, TIMINGS, Running, workers_of
from tests.workers.tiny_serve import TINY_WORKER


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("platform")
    settings = load_settings(data_dir=folder / "data", port=0, **TIMINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        with embedded_platform(settings, TINY_WORKER) as platform, Client(platform.url, platform.api_key) as client:
            yield Running(client, settings, folder, platform.url, platform.api_key)
    assert workers_of(settings.data_dir) == [], "something was left running"
