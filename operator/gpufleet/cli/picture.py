"""The fleet as the read API tells it, reduced to what people are shown; pure.

It is read without the models of the API: they take longer to load than `kubectl get` takes as a whole.
"""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gpufleet.state import names

Time = datetime.datetime | None


class Wire(msgspec.Struct, gc=False, rename="camel"):
    """An API object's part; other fields are passed over."""


class Meta(Wire):
    name: str
    namespace: str = ""
    creation_timestamp: Time = None
    deletion_timestamp: Time = None


class Condition(Wire):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: Time = None


class Assignment(Wire):
    reason: str = ""
    message: str = ""
    replicas: int = 0
    workers: int = 0


class Decision(Wire):
    reason: str = ""
    message: str = ""


class Autoscaling(Wire):
    mode: str = "Active"
    replicas: int = 0
    decisions: list[Decision] = []


class Status(Wire):
    """Of any of our kinds; what a kind lacks keeps its default."""

    conditions: list[Condition] = []
    assignment: Assignment | None = None
    autoscaling: Autoscaling | None = None
    right_sizing: Decision | None = None
    slice_choice: Decision | None = None
    mig: dict[str, Any] | None = None
    ready_replicas: int = 0
    active_workers: int = 0
    attempt: int = 0
    completion_time: Time = None


class Spec(Wire):
    """As Status."""

    suspend: bool = False
    managed_by: str | None = None
    max_nodes: int | None = None
    node_selector: dict[str, str] = {}
    mig: dict[str, Any] | None = None
    autoscaling: Autoscaling | None = None
    topology: dict[str, Any] | None = None


class Thing(Wire):
    """A GPUPool, TritonService or TrainingJob."""

    metadata: Meta
    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)

    @property
    def key(self) -> str:
        where = f"{self.metadata.namespace}/" if self.metadata.namespace else ""
        return f"{where}{self.metadata.name}"

    def condition(self, type_: str) -> Condition | None:
        return next((one for one in self.status.conditions if one.type == type_), None)


class Taint(msgspec.Struct, gc=False):
    key: str


class Instance(msgspec.Struct, gc=False):
    """A MIG slice; `pod` is namespace/name/uid of its holder, or empty."""

    profile: str
    start: int = 0
    pod: str = ""


class Gpu(msgspec.Struct, gc=False):
    """As the node agent has published it."""

    index: int
    mig: bool = False
    instances: list[Instance] = []
    pod: str = ""


class Devices(msgspec.Struct, gc=False):
    gpus: list[Gpu] = []


class Node(msgspec.Struct, gc=False):
    """A node as the operator sees it."""

    name: str
    labels: dict[str, str] = {}
    allocatable: dict[str, int] = {}
    ready: bool = True
    unschedulable: bool = False
    taints: list[Taint] = []
    devices: Devices | None = None

    @property
    def is_usable(self) -> bool:
        """As state/fleet.py has it."""
        fenced = any(one.key == names.REPARTITION_TAINT for one in self.taints)
        return self.ready and not self.unschedulable and not fenced


class Pod(msgspec.Struct, gc=False):
    namespace: str
    name: str
    node: str = ""
    phase: str = ""
    requests: dict[str, int] = {}


class NodeReport(msgspec.Struct, gc=False):
    """What becomes of a node's MIG layout."""

    node: str
    pool: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    since: Time = None


class Fleet(msgspec.Struct):
    """What `/snapshot` tells."""

    nodes: list[Node] = []
    pods: list[Pod] = []
    pools: list[Thing] = []
    services: list[Thing] = []
    jobs: list[Thing] = []
    repartition: list[NodeReport] = []


class Listed(msgspec.Struct):
    """A list of the API server."""

    items: list[Thing] = []


def pool_of_nodes(fleet: Fleet) -> dict[str, str]:
    """The first pool by name that a node is in; nodes in none are left out."""
    found: dict[str, str] = {}
    for pool in sorted(fleet.pools, key=lambda one: one.metadata.name):
        wanted = pool.spec.node_selector.items()
        for node in fleet.nodes:
            if wanted <= node.labels.items():
                found.setdefault(node.name, pool.metadata.name)
    return found


def held_on_nodes(pods: Iterable[Pod]) -> Mapping[str, Mapping[str, Counter[str]]]:
    """Units that pods hold: by node, by resource, by namespace; a pod holds until it has ended."""
    found: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for pod in pods:
        if pod.node and pod.phase not in ("Succeeded", "Failed"):
            for resource, count in pod.requests.items():
                found[pod.node][resource][pod.namespace] += count
    return found
