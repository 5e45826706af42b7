"""docker-compose.yml: what an engine would check, and what it would not."""

from __future__ import annotations

from typing import Any

import compose_spec
import pytest
import yaml

from tests.infra.files import SECRETS, VariableMissingError, compose, compose_text, ours, parse, unknown_variables

FILE = compose()
SERVICES = FILE["services"]
OURS = ours(SERVICES)


def test_it_follows_the_compose_specification() -> None:
    plain = yaml.safe_dump({key: value for key, value in FILE.items() if not key.startswith("x-")})
    assert set(compose_spec.PyCompose.from_yaml(plain).services) == set(SERVICES)
    with pytest.raises(ValueError, match="bogus"):
        compose_spec.PyCompose.from_yaml(plain.replace("    command:\n", "    bogus: 1\n    command:\n", 1))


@pytest.mark.parametrize("secret", SECRETS)
def test_without_a_secret_nothing_starts(secret: str) -> None:
    with pytest.raises(VariableMissingError, match=secret):
        compose_text({name: value for name, value in SECRETS.items() if name != secret})


def test_no_secret_stands_in_the_file() -> None:
    text = compose_text(dict.fromkeys(SECRETS, "FILLED-IN"))
    for line in text.splitlines():
        name, _, value = line.strip().partition(": ")
        if name.endswith(("PASSWORD", "SECRET_KEY")):
            assert value == "FILLED-IN"


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_fenced(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not unknown_variables(service["environment"])
    parse(service["command"])
    if name != "migrate":  # it ends by itself
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
        assert "/data" in {volume.partition(":")[2] for volume in service["volumes"]}


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if service["command"][0] != "api"])
def test_probes_are_commands_of_ours(name: str) -> None:
    check = OURS[name]["healthcheck"]
    if check.get("disable"):
        assert name == "migrate"
        return
    program, *arguments = check["test"][1:]
    assert (check["test"][0], program) == ("CMD", "likeness")
    parse(arguments)
    own = [part for part in arguments if part != "--check"]
    assert own == OURS[name]["command"], "it checks the queues that the worker serves"


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("worker")])
def test_a_worker_may_hand_its_stage_back_before_it_is_killed(name: str) -> None:
    grace = compose_spec.parse_duration(OURS[name]["stop_grace_period"])
    stop = float(OURS[name]["environment"]["LIKENESS_WORKER_STOP_SECONDS"])
    assert _seconds(grace) >= stop + 15
    assert OURS[name].get("stop_signal", "SIGTERM") == "SIGTERM"


def test_each_queue_has_a_worker() -> None:
    served = {
        queue
        for service in OURS.values()
        if service["command"][0] == "worker" and "profiles" not in service
        for queue in service["command"][2].split(",")
    }
    assert served == {"cpu", "train", "render"}


def test_servers_are_pinned_and_only_reached_from_this_machine() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        if name not in OURS:
            tag = service["image"].rpartition(":")[2]
            assert tag[0].isdigit() and "." in tag, service["image"]
            assert "healthcheck" in service


def test_every_dependency_has_what_its_condition_asks_for() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert (how["condition"], other) == ("service_completed_successfully", "migrate")


def _seconds(duration: Any) -> float:
    return float(duration.total_seconds()) if hasattr(duration, "total_seconds") else float(duration)
