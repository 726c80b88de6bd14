"""Where a pod may go, by selector, required affinity and tolerations; and whether it may be told to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gpufleet.observe import wire
from gpufleet.state import fleet, names

_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_STAYING = frozenset({"DaemonSet", "Node"})
"""Controllers whose pods come back to the same node."""


class _Expression(wire.Wire):
    key: str
    operator: str
    values: list[str] | None = None


class _Term(wire.Wire):
    match_expressions: list[_Expression] | None = None


class _Terms(wire.Wire):
    node_selector_terms: list[_Term] | None = None


class _NodeAffinity(wire.Wire):
    required: _Terms | None = msgspec.field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class _Affinity(wire.Wire):
    node_affinity: _NodeAffinity | None = None


class _Toleration(wire.Wire):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class PodSpec(wire.Wire):
    """The part of a pod's spec that says where it may go."""

    node_selector: dict[str, str] | None = None
    affinity: _Affinity | None = None
    tolerations: list[_Toleration] | None = None


def read(spec: PodSpec) -> fleet.Constraints:
    """Terms of the affinity, each with the selector's labels; matchFields are not looked at."""
    selected = tuple(
        fleet.Requirement(key, "In", (value,)) for key, value in sorted((spec.node_selector or {}).items())
    )
    node = spec.affinity.node_affinity if spec.affinity else None
    found = node.required.node_selector_terms if node and node.required else None
    alternatives = [_read_term(one) for one in found or ()]
    terms = [(*selected, *one) for one in alternatives] or ([selected] if selected else [])
    tolerations = tuple(
        fleet.Toleration(one.key, one.operator, one.value, one.effect) for one in spec.tolerations or ()
    )
    return fleet.Constraints(tuple(terms), tolerations)


def _read_term(term: _Term) -> tuple[fleet.Requirement, ...]:
    return tuple(
        fleet.Requirement(one.key, one.operator, tuple(one.values or ()))
        for one in term.match_expressions or ()
    )


def is_evictable(controller: str, annotations: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Not what nobody makes again, what its author forbids to disturb, and gangs, which are all or none."""
    said = (annotations.get(names.DO_NOT_DISRUPT_ANNOTATION), annotations.get(_SAFE_TO_EVICT))
    forbidden = said[0] == "true" or said[1] == "false"
    return bool(controller) and controller not in _STAYING and not forbidden and names.JOB_LABEL not in labels
