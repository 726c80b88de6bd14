"""By which way requests reach the revisions of a service, and in which shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpufleet.api import rollout as rollouts
from gpufleet.api import route, triton_service
from gpufleet.decide.resources import core, gateway
from gpufleet.decide.serving import rollout
from gpufleet.state import names, view


@dataclasses.dataclass(frozen=True, slots=True)
class Routing:
    """What is to exist for it, who shares a canary's traffic, and why a wanted route is missing."""

    manifests: tuple[Mapping[str, Any], ...] = ()
    traffic: rollouts.Traffic = "Replicas"
    fault: str = ""


def plan(view: view.ServiceView, facts: rollout.Facts, step: rollout.Step) -> Routing:
    """The route and, while two revisions share the traffic, a Service for each of them."""
    service = view.service
    wanted = service.spec.route
    if wanted is None:
        return Routing()
    kind = gateway.KINDS[wanted.protocol]
    if kind not in view.kinds:
        return Routing(
            fault=f"spec.route needs {kind} of the Gateway API, which is not installed: install its CRDs, or "
            "remove spec.route"
        )
    weights = find_weights(facts, step)
    name = service.metadata.name
    if not weights:
        return Routing((_build_route(service, wanted, {name: 1}),))
    shared = {f"{name}-{revision}": weight for revision, weight in weights.items()}
    services = tuple(_build_service(service, revision) for revision in sorted(weights))
    return Routing((*services, _build_route(service, wanted, shared)), "Route")


def find_weights(facts: rollout.Facts, step: rollout.Step) -> dict[str, int]:
    """Percent by revision while a canary holds a share and both revisions can answer; else nothing."""
    status = step.status
    if status is None or facts.policy.canary is None or status.phase not in ("Progressing", "Canary"):
        return {}
    shares = {status.revision: status.weight, status.previous: 100 - status.weight}
    if not all(
        name in facts.revisions and facts.revisions[name].ready for name, part in shares.items() if part
    ):
        return {}
    return {name: part for name, part in shares.items() if name in facts.revisions}


def _build_service(service: triton_service.TritonService, revision: str) -> dict[str, Any]:
    name, namespace = service.metadata.name, service.metadata.namespace
    labels = {names.SERVICE_LABEL: name, names.REVISION_LABEL: revision}
    return core.build_service(f"{name}-{revision}", namespace, labels, labels, core.TRITON_PORTS)


def _build_route(
    service: triton_service.TritonService, wanted: route.Route, weights: Mapping[str, int]
) -> dict[str, Any]:
    name, namespace = service.metadata.name, service.metadata.namespace
    return gateway.build_route(name, namespace, {names.SERVICE_LABEL: name}, wanted, weights)
