"""What every cluster runs: name resolution that may do little, and volumes that any pod may write to."""

from __future__ import annotations

import stat
from typing import Any

import pytest

from gpufleet_sandbox import addons, instance
from gpufleet_sandbox.images import recipes


@pytest.fixture
def sandbox(monkeypatch, tmp_path) -> instance.Instance:
    monkeypatch.setenv("GPUFLEET_CACHE", str(tmp_path))
    return instance.Instance("other", 3)


def find(sandbox: instance.Instance, kind: str) -> list[dict[str, Any]]:
    return [one for one in addons.manifests(sandbox) if one["kind"] == kind]


def test_names_resolve_where_the_kubelets_look(sandbox):
    [service] = find(sandbox, "Service")

    assert service["spec"]["clusterIP"] == sandbox.dns_ip
    assert {(port["port"], port["protocol"]) for port in service["spec"]["ports"]} == {
        (53, "UDP"),
        (53, "TCP"),
    }


def test_service_reaches_the_port_that_the_corefile_names(sandbox):
    [service] = find(sandbox, "Service")
    [config] = find(sandbox, "ConfigMap")
    [deployment] = find(sandbox, "Deployment")

    [target] = {port["targetPort"] for port in service["spec"]["ports"]}
    assert config["data"]["Corefile"].startswith(f".:{target} {{")
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_no_query_leaves_the_cluster(sandbox):
    [config] = find(sandbox, "ConfigMap")

    assert "forward" not in config["data"]["Corefile"]


def test_pod_meets_the_restricted_standard(sandbox):
    [deployment] = find(sandbox, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]

    assert container["image"] == recipes.COREDNS
    assert container["imagePullPolicy"] == "IfNotPresent"
    context = container["securityContext"]
    assert (context["runAsNonRoot"], context["allowPrivilegeEscalation"]) == (True, False)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_it_may_only_look(sandbox):
    [role] = find(sandbox, "ClusterRole")

    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list", "watch"}
    assert not {"secrets", "configmaps"} & {name for rule in role["rules"] for name in rule["resources"]}


def test_volumes_are_folders_that_any_user_may_write_to(sandbox):
    volumes = find(sandbox, "PersistentVolume")

    assert len(volumes) == addons.VOLUMES
    for volume in volumes:
        path = sandbox.shared_volumes / volume["metadata"]["name"]
        assert volume["spec"]["hostPath"] == {"path": str(path), "type": "Directory"}
        assert stat.S_IMODE(path.stat().st_mode) == 0o777
        assert volume["spec"]["storageClassName"] == addons.STORAGE_CLASS
        assert "ReadWriteMany" in volume["spec"]["accessModes"]
        assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_claims_that_name_no_class_bind_too(sandbox):
    [storage] = find(sandbox, "StorageClass")

    assert storage["metadata"]["name"] == addons.STORAGE_CLASS
    assert storage["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
