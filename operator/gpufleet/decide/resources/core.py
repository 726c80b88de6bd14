"""ConfigMaps and Services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet.decide.resources import meta
from gpufleet.state import names

TRITON_PORTS = {
    "http": names.TRITON_HTTP_PORT,
    "grpc": names.TRITON_GRPC_PORT,
    "metrics": names.TRITON_METRICS_PORT,
}


def build_config_map(
    name: str, namespace: str, labels: Mapping[str, str], data: Mapping[str, str]
) -> dict[str, Any]:
    """A ConfigMap with these texts."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta.build_meta(name, namespace, labels),
        "data": dict(data),
    }


def build_service(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    ports: Mapping[str, int],
    *,
    headless: bool = False,
    before_ready: bool = False,
) -> dict[str, Any]:
    """A Service; a headless one gives every pod a name, `before_ready` also to those not ready yet."""
    spec: dict[str, Any] = {
        "selector": dict(selector),
        "ports": [
            {"name": port_name, "port": port, "targetPort": port, "protocol": "TCP"}
            for port_name, port in ports.items()
        ],
    }
    if headless:
        spec["clusterIP"] = "None"
    if before_ready:
        spec["publishNotReadyAddresses"] = True
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta.build_meta(name, namespace, labels),
        "spec": spec,
    }
