"""Settings refuse in production what is only safe on one's own machine."""

from __future__ import annotations

import pytest

from core.errors import UsageError
from core.settings import load_settings

SAFE = {
    "mode": "production",
    "secret_key": "s" * 32,
    "database_url": "postgresql+psycopg://db/likeness",
    "broker_url": "redis://broker",
}


def test_production_with_servers_and_a_secret_is_accepted() -> None:
    assert load_settings(**SAFE).mode == "production"


@pytest.mark.parametrize(
    "insecure",
    [
        {"secret_key": "short"},
        {"database_url": ""},
        {"database_url": "sqlite:///x"},
        {"broker_url": ""},
        {"broker_url": "filesystem://"},
    ],
)
def test_production_refuses_insecure_defaults(insecure: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        load_settings(**{**SAFE, **insecure})
    assert refused.value.code == "bad_settings"
    assert "s" * 32 not in refused.value.message


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("LIKENESS_URL", "http://elsewhere")  # the client's, not ours
    assert load_settings().max_attempts == 7


def test_a_lease_that_one_missed_heartbeat_would_lose_is_refused() -> None:
    with pytest.raises(UsageError):
        load_settings(lease_seconds=5, heartbeat_seconds=2)
