"""HTTPRoutes and GRPCRoutes of the Gateway API (https://gateway-api.sigs.k8s.io)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpufleet.api import route
from gpufleet.decide.resources import meta
from gpufleet.state import names

API_VERSION = "gateway.networking.k8s.io/v1"
KINDS: Mapping[route.Protocol, str] = {"HTTP": "HTTPRoute", "GRPC": "GRPCRoute"}
_GROUP = "gateway.networking.k8s.io"
_PORTS: Mapping[route.Protocol, int] = {"HTTP": names.TRITON_HTTP_PORT, "GRPC": names.TRITON_GRPC_PORT}


def build_route(
    name: str, namespace: str, labels: Mapping[str, str], wanted: route.Route, weights: Mapping[str, int]
) -> dict[str, Any]:
    """One rule for every request; `weights` are those of Services by name.

    Written with the defaults that the API server would add, so that what is stored is what was sent.
    """
    gateway = wanted.gateway
    parent = {
        "group": _GROUP,
        "kind": "Gateway",
        "name": gateway.name,
        "namespace": gateway.namespace,
        "sectionName": gateway.section_name,
    }
    port = _PORTS[wanted.protocol]
    rule: dict[str, Any] = {
        "backendRefs": [
            {"group": "", "kind": "Service", "name": service, "port": port, "weight": weight}
            for service, weight in sorted(weights.items())
        ],
    }
    if wanted.protocol == "HTTP":
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": "/"}}]
    spec = {"parentRefs": [meta.without_empty(parent)], "hostnames": list(wanted.hostnames), "rules": [rule]}
    return {
        "apiVersion": API_VERSION,
        "kind": KINDS[wanted.protocol],
        "metadata": meta.build_meta(name, namespace, labels),
        "spec": meta.without_empty(spec),
    }
