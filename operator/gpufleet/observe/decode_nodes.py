"""Nodes and PriorityClasses as the API server writes them, reduced to what decisions read."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from gpufleet.observe import devices, wire
from gpufleet.state import fleet, names

_log = logging.getLogger(__name__)

_NODE_ANNOTATIONS = (
    names.MIG_WANTED_ANNOTATION,
    names.MIG_CHANGE_ANNOTATION,
    names.MIG_HOLD_ANNOTATION,
    names.MIG_CUTS_ANNOTATION,
)


class _Taint(wire.Wire):
    key: str
    value: str = ""
    effect: str = ""


class _NodeSpec(wire.Wire):
    unschedulable: bool = False
    taints: list[_Taint] | None = None


class _NodeInfo(wire.Wire):
    boot_id: str = msgspec.field(default="", name="bootID")


class _NodeStatus(wire.Wire):
    allocatable: dict[str, str | int] | None = None
    conditions: list[wire.Condition] | None = None
    node_info: _NodeInfo = msgspec.field(default_factory=_NodeInfo)


class _Node(wire.Wire):
    metadata: wire.Meta
    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


def decode_node(raw: dict[str, Any]) -> fleet.Node | None:
    """A node with its extended resources; None where it makes no sense."""
    try:
        node = msgspec.convert(raw, _Node)
        allocatable = wire.extended(node.status.allocatable)
    except (msgspec.ValidationError, ValueError) as error:
        _log.warning("node %s cannot be read: %s", raw["metadata"]["name"], error)
        return None
    annotations = node.metadata.annotations or {}
    return fleet.Node(
        name=node.metadata.name,
        labels=node.metadata.labels or {},
        allocatable=allocatable,
        ready=any(one.type == "Ready" and one.status == "True" for one in node.status.conditions or ()),
        unschedulable=node.spec.unschedulable,
        uid=node.metadata.uid,
        annotations={key: annotations[key] for key in _NODE_ANNOTATIONS if key in annotations},
        taints=tuple(fleet.Taint(one.key, one.value, one.effect) for one in node.spec.taints or ()),
        boot_id=node.status.node_info.boot_id,
        devices=devices.read(node.metadata.name, annotations.get(names.DEVICES_ANNOTATION)),
    )


def decode_priority(raw: dict[str, Any]) -> fleet.Priority:
    """A PriorityClass; the API server lets only numbers in."""
    return fleet.Priority(raw["metadata"]["name"], int(raw["value"]), bool(raw.get("globalDefault", False)))
