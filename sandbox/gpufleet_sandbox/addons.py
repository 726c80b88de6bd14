"""What every sandbox cluster runs besides its users' work: name resolution and shared volumes."""

from __future__ import annotations

from typing import Any

from gpufleet_sandbox import instance
from gpufleet_sandbox.images import recipes

STORAGE_CLASS = "sandbox-shared"
VOLUMES = 8
PROMETHEUS = "prometheus"
_NAMESPACE = "kube-system"
_DNS = "coredns"
_COREFILE = """.:5353 {
    reload
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        ttl 5
    }
    cache 5
}
"""


def manifests(sandbox: instance.Instance) -> list[dict[str, Any]]:
    """Everything to apply once nodes are Ready; also makes the directories behind the volumes."""
    return [*_build_dns_rights(), *_build_dns(sandbox), *_build_storage(sandbox)]


def _meta(name: str, namespace: str | None = _NAMESPACE) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {})}


def _build_dns_rights() -> list[dict[str, Any]]:
    rbac = "rbac.authorization.k8s.io"
    look = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": look},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": look},
    ]
    subject = {"kind": "ServiceAccount", "name": _DNS, "namespace": _NAMESPACE}
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": "system:coredns"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(_DNS)},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": _meta("system:coredns", None),
            "rules": rules,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _meta("system:coredns", None),
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def _build_dns(sandbox: instance.Instance) -> list[dict[str, Any]]:
    labels = {"k8s-app": "kube-dns"}
    ports = [
        {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": 5353, "protocol": "TCP"},
    ]
    pod = {
        "serviceAccountName": _DNS,
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        # Simulated nodes would only pretend to resolve names.
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": {"nodeAffinity": _not_simulated()},
        "containers": [_build_dns_container()],
        "volumes": [{"name": "config", "configMap": {"name": _DNS}}],
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(_DNS), "data": {"Corefile": _COREFILE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _meta(_DNS),
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta("kube-dns"),
            "spec": {"clusterIP": sandbox.dns_ip, "selector": labels, "ports": ports},
        },
    ]


def _not_simulated() -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "type", "operator": "NotIn", "values": ["kwok"]}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


def _build_dns_container() -> dict[str, Any]:
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "name": _DNS,
        "image": recipes.COREDNS,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "securityContext": restricted,
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 10},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }


def build_prometheus(address: str, port: int) -> list[dict[str, Any]]:
    """A name in the cluster for the Prometheus beside it."""
    about = {"name": PROMETHEUS, "namespace": _NAMESPACE}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": about,
            "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": about | {"labels": {"kubernetes.io/service-name": PROMETHEUS}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address]}],
        },
    ]


def _build_storage(sandbox: instance.Instance) -> list[dict[str, Any]]:
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "reclaimPolicy": "Retain",
    }
    return [storage_class, *(_build_volume(sandbox, f"shared-{number}") for number in range(1, VOLUMES + 1))]


def _build_volume(sandbox: instance.Instance, name: str) -> dict[str, Any]:
    """All nodes see the same folder, so that any number of pods may write to the volume."""
    folder = sandbox.shared_volumes / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": _meta(name, None),
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder), "type": "Directory"},
        },
    }
