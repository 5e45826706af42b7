"""`likeness client` against a running platform: what it prints, and how it exits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.client import register
from cli.console import exit_code
from core.errors import LikenessError
from tests.workers.running_platform import Running
from workers.logs import configure_logs


@pytest.fixture
def likeness(running: Running) -> Any:
    configure_logs(sys.__stderr__)  # the server's lines are not part of what a command prints
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    environment = {"LIKENESS_URL": running.url, "LIKENESS_API_KEY": running.api_key}

    def call(*arguments: object) -> tuple[int, Any]:
        """Returns the exit code, and the JSON on stdout or the error."""
        result = CliRunner().invoke(app, ["client", *map(str, arguments)], env=environment)
        if isinstance(result.exception, LikenessError):
            return exit_code(result.exception), result.exception
        assert result.exit_code == 0, result.output
        return 0, json.loads(result.stdout) if result.stdout.strip() else None

    return call


def test_submit_download_render(likeness: Any, running: Running, tmp_path: Path) -> None:
    clip = running.clip(steps=2)
    code, made = likeness("submit", clip, "--consent-attested", "--profile", "draft", "--wait", "--json")
    assert (code, made["state"]) == (0, "succeeded")
    code, job = likeness("status", made["job"], "--json")
    assert (code, job["state"], job["progress"]) == (0, "succeeded", 1.0)
    assert likeness("wait", made["job"]) == (0, None)
    likeness("download", made["identity"], "-o", tmp_path / "me.likeness")
    assert (tmp_path / "me.likeness").stat().st_size > 0
    speeches = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.wav").write_text("steps=1")
        speeches += ["--audio", tmp_path / f"{name}.wav"]
    code, videos = likeness("render", made["identity"], *speeches, "-o", tmp_path / "videos", "--json")
    assert code == 0
    assert [Path(video["output"]).name for video in videos] == ["one.mp4", "two.mp4"]
    assert all(Path(video["output"]).is_file() and video["frames"] == 75 for video in videos)


def test_refused_input_exits_with_3_and_its_own_code(likeness: Any, running: Running) -> None:
    code, error = likeness("submit", running.clip(reject="two_heads"), "--consent-attested", "--wait")
    assert (code, error.code, error.hint) == (3, "two_heads", "Record another one.")


def test_a_failed_job_exits_with_1(likeness: Any, running: Running) -> None:
    code, error = likeness("submit", running.clip(fail=1), "--consent-attested", "--wait")
    assert (code, error.code) == (1, "internal_error")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("submit", "absent.mp4", "--consent-attested"), "file_not_found"),
        (("status", "job_" + "0" * 32), "not_found"),
        (("status", "job_" + "0" * 32, "--api-key", "lk_wrong"), "unauthorized"),
        (("status", "job_" + "0" * 32, "--api-key", ""), "api_key_missing"),
    ],
)
def test_wrong_use_exits_with_2(likeness: Any, arguments: tuple[str, ...], expected: str) -> None:
    code, error = likeness(*arguments)
    assert (code, error.code) == (2, expected)


def test_a_consent_is_recorded_used_and_revoked(likeness: Any, running: Running, tmp_path: Path) -> None:
    code, consent = likeness("consent", "create", "Ada", "--purpose", "tests", "--json")
    assert (code, consent["state"], len(consent["phrase"].split())) == (0, "pending", 6)
    code, made = likeness("submit", running.clip(steps=1), "--consent", consent["consent"], "--tag", "n=1", "--json")
    assert likeness("status", made["job"], "--json")[1]["state"] == "awaiting_consent"
    (tmp_path / "said.mp4").write_text("steps=1")
    likeness("consent", "evidence", consent["consent"], tmp_path / "said.mp4")
    assert likeness("consent", "verify", consent["consent"], "--json")[1]["state"] == "verified"
    assert likeness("wait", made["job"])[0] == 0
    assert [one["identity"] for one in likeness("identities", "--tag", "n=1", "--json")[1]] == [made["identity"]]
    assert likeness("consent", "revoke", consent["consent"], "--json")[1]["state"] == "revoked"
    assert likeness("identities", "--tag", "n=1", "--json")[1] == []


def test_webhooks_jobs_and_usage(likeness: Any) -> None:
    code, hook = likeness("webhook", "create", "https://example.com/hook", "--event", "job.failed", "--json")
    assert (code, hook["events"]) == (0, ["job.failed"])
    assert likeness("webhook", "create", "http://127.0.0.1/")[0] == 2
    assert likeness("webhook", "test", hook["id"], "--json")[1]["type"] == "webhook.test"
    assert [one["type"] for one in likeness("webhook", "deliveries", "--json")[1]] == ["webhook.test"]
    assert likeness("webhook", "delete", hook["id"]) == (0, None)
    assert len(likeness("jobs", "--limit", "1", "--json")[1]) == 1
    assert likeness("usage", "--json")[1]["jobs"] > 0


def test_no_avatar_without_consent(likeness: Any, running: Running) -> None:
    code, error = likeness("submit", running.clip(steps=1))
    assert (code, error.code) == (2, "consent_missing")


def test_a_server_that_is_not_there_exits_with_1(likeness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likeness_client.connection.FIRST_PAUSE_SECONDS", 0.001)
    code, error = likeness("status", "job_" + "0" * 32, "--url", "http://127.0.0.1:1")
    assert (code, error.code) == (1, "server_unreachable")
