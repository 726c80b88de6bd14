"""What pods and nodes have in common on the wire."""

from __future__ import annotations

import msgspec

from gpufleet.api import meta


class Wire(msgspec.Struct, rename="camel"):
    """Base of what is decoded: camelCase, everything else ignored."""


class Owner(Wire):
    uid: str
    kind: str = ""
    controller: bool = False


class Meta(Wire):
    name: str
    uid: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    owner_references: list[Owner] | None = None


class Condition(Wire):
    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


def extended(resources: dict[str, str | int] | None) -> dict[str, int]:
    """Whole numbers of the resources that are not Kubernetes' own: their names have a domain."""
    return {
        name: meta.quantity_to_bytes(str(quantity))
        for name, quantity in (resources or {}).items()
        if "/" in name and not name.split("/")[0].endswith("kubernetes.io")
    }
