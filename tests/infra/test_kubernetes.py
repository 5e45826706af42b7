"""The Kubernetes manifests: valid, fenced, probed; and KEDA's question fits the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from core.jobs.kinds import QUEUES
from tests.infra.files import ROOT, manifests, parse, unknown_variables

VERSION = "1.34"
NOT_KUBERNETES_OWN = ("keda.sh/", "kustomize.config.k8s.io/")
ALL = list(manifests())
CONFIG = next(document["data"] for _, document in ALL if document["kind"] == "ConfigMap")
SECRET = next(document["stringData"] for _, document in ALL if document["kind"] == "Secret")


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for _, document in ALL:
        if document["kind"] in ("Deployment", "Job"):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


PODS = dict(pods())


@pytest.mark.parametrize(
    "document", [d for _, d in ALL if not d["apiVersion"].startswith(NOT_KUBERNETES_OWN)], ids=lambda d: str(d["kind"])
)
def test_it_follows_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_misspelt_field_is_refused() -> None:
    broken = next(document for _, document in ALL if document["kind"] == "Service")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**broken, "spec": {**broken["spec"], "portz": []}}, VERSION, strict=True)


def test_the_kustomization_names_every_file() -> None:
    folder = ROOT / "infra" / "kubernetes" / "base"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(p.name for p in folder.iterdir() if p.name != "kustomization.yaml")


@pytest.mark.parametrize("name", PODS)
def test_pods_are_fenced(name: str) -> None:
    pod = PODS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    fence = container["securityContext"]
    assert (fence["readOnlyRootFilesystem"], fence["allowPrivilegeEscalation"]) == (True, False)
    assert fence["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", PODS)
def test_pods_run_commands_and_settings_that_exist(name: str) -> None:
    (container,) = PODS[name]["containers"]
    parse(container["args"])
    own = {item["name"]: item["value"] for item in container.get("env", [])}
    assert not unknown_variables({**CONFIG, **SECRET, **own})
    probe = container.get("livenessProbe", {}).get("exec")
    if probe is not None:
        program, *arguments = probe["command"]
        assert program == "likeness"
        parse(arguments)
        assert [part for part in arguments if part != "--check"] == container["args"]
    if name.startswith("likeness-worker"):
        assert probe is not None
        assert PODS[name]["terminationGracePeriodSeconds"] >= int(own["LIKENESS_WORKER_STOP_SECONDS"]) + 15


def test_the_secrets_template_is_empty() -> None:
    for _, document in ALL:
        if document["kind"] == "Secret":
            assert set(document["stringData"].values()) == {""}


def scalers() -> dict[str, dict[str, Any]]:
    """KEDA's objects by the deployment that they scale."""
    return {d["spec"]["scaleTargetRef"]["name"]: d["spec"] for _, d in ALL if d["kind"] == "ScaledObject"}


def test_each_queue_is_scaled_by_its_own_count() -> None:
    assert set(scalers()) == {f"likeness-worker-{queue}" for queue in QUEUES} == {n for n in PODS if "worker" in n}
    logins = {d["metadata"]["name"] for _, d in ALL if d["kind"] == "TriggerAuthentication"}
    for queue in QUEUES:
        spec = scalers()[f"likeness-worker-{queue}"]
        (trigger,) = spec["triggers"]
        assert trigger["type"] == "postgresql"
        assert f"queue = '{queue}'" in trigger["metadata"]["query"]
        assert trigger["authenticationRef"]["name"] in logins
        assert 0 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
        # KEDA's metadata is a map of strings: an unquoted number is refused by the cluster.
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
