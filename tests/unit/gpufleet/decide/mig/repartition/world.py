"""A cluster in miniature for the actuator: hardware that refuses, a scheduler and kubelets that are late,
mig-manager, an agent, people, and faults. Everything is drawn from one random generator."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import random
from typing import Any

from gpufleet.decide.mig import catalogue, geometry
from gpufleet.decide.mig.repartition import configs, rounds, steps
from gpufleet.simgpu import device, inventory, migconfig, repartition
from gpufleet.state import devices as published
from gpufleet.state import fleet, mig, names, snapshot
from tests import builders

LAG_S = 25.0
"""Longest time between two looks of an agent, a plugin or mig-manager."""
LIMITS = steps.Limits(
    settle_s=5,
    config_settle_s=20,
    grace_s=10,
    confirm_s=LAG_S + 5,
    apply_s=300,
    hold_s=60,
    longest_hold_s=600,
)
SCHEDULER_LAG_S = 3.0
EMPTY = "version: v1\nmig-configs: {}\n"
POOL_LABEL = "gpufleet.dev/pool"
DEPLOY = names.GPU_DEPLOY_LABELS + "device-plugin"


@functools.lru_cache(maxsize=64)
def parse(text: str) -> migconfig.Configs:
    """mig-manager's file as it reads it."""
    return migconfig.parse(text)


@dataclasses.dataclass
class PodSim:
    """A pod; `uuids` are what the kubelet has given it."""

    name: str
    resource: str
    pool: str
    evictable: bool
    lasts_s: float
    node: str = ""
    bound_s: float = 0.0
    uuids: tuple[str, ...] = ()
    over: bool = False
    leaving_at_s: float | None = None


@dataclasses.dataclass
class Manager:
    """mig-manager of one node: acts on a change of the label, reads a mounted copy of the ConfigMap."""

    applied: str = ""
    started_s: float | None = None
    file: str | None = None
    stuck: bool = False
    fails: bool = False


@dataclasses.dataclass
class NodeSim:
    """A node with its hardware and everything that is told of it, each part as late as it may be."""

    name: str
    pool: str
    product: str
    gpus: list[device.Gpu]
    uid: str
    boot: int = 1
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    annotations: dict[str, str] = dataclasses.field(default_factory=dict)
    fenced_s: float | None = None
    cordoned: bool = False
    down_until_s: float = 0.0
    map: published.DeviceMap | None = None
    allocatable: dict[str, int] = dataclasses.field(default_factory=dict)
    manager: Manager = dataclasses.field(default_factory=Manager)
    meddled: bool = True
    """Whether somebody else has had a hand in it since the operator labelled it last."""
    looked_s: dict[str, float] = dataclasses.field(default_factory=dict)
    log: list[str] = dataclasses.field(default_factory=list)

    @property
    def boot_id(self) -> str:
        return f"{self.uid}/{self.boot}"


class World:
    """The cluster, its clock, and the operator's passes over it."""

    def __init__(
        self, rng: random.Random, pools: dict[str, dict[str, Any]], shape: dict[str, list[str]]
    ) -> None:
        self.rng = rng
        self.now_s = 0.0
        self.pools = tuple(
            builders.make_pool(name, nodeSelector={POOL_LABEL: name}, mig=policy)
            for name, policy in sorted(pools.items())
        )
        self.file: str | None = None
        self.pods: dict[str, PodSim] = {}
        self.nodes: dict[str, NodeSim] = {}
        self.made = 0
        self.finished = 0
        self.reserved = 0
        """Changes that could have cut a GPU which the pool reserves."""
        self.seen: set[str] = set()
        self.old_view: snapshot.Snapshot | None = None
        for pool, products in shape.items():
            for number, product in enumerate(products):
                self.add_node(f"{pool}-{number}", pool, product, rng.choice((1, 2, 3)))

    # What there is.

    def add_node(self, name: str, pool: str, product: str, count: int) -> None:
        self.made += 1
        node = NodeSim(name, pool, product, inventory.build_gpus(name, product, count), f"uid-{self.made}")
        for gpu in node.gpus:
            if self.rng.random() < 0.7:
                gpu.set_mig_mode(True)
                for profile in self.rng.choices(gpu.model.profiles, k=3):
                    if geometry.legal_starts(gpu.model, gpu.placements, profile.name):
                        gpu.create_instance(profile.name)
        self.nodes[name] = node
        self.refresh(node)

    def refresh(self, node: NodeSim) -> None:
        """The agent, the device plugin and feature discovery have looked."""
        self.publish(node)
        self.advertise(node)

    def publish(self, node: NodeSim) -> None:
        """The agent: what the kubelet has given out until now."""
        held = {uuid: f"team/{pod.name}/uid-{pod.name}" for pod in self.holding(node) for uuid in pod.uuids}
        node.map = published.DeviceMap(
            node.boot_id,
            tuple(
                published.Gpu(
                    gpu.index,
                    gpu.uuid,
                    gpu.model.name,
                    gpu.mig_enabled,
                    tuple(
                        published.Instance(it.uuid, it.profile, it.placement.start, held.get(it.uuid, ""))
                        for it in sorted(gpu.instances, key=lambda it: it.placement.start)
                    ),
                    held.get(gpu.uuid, ""),
                )
                for gpu in node.gpus
            ),
            node.annotations.get(names.DEVICES_REQUESTED_ANNOTATION, ""),
        )

    def advertise(self, node: NodeSim) -> None:
        found: dict[str, int] = {}
        for gpu in node.gpus:
            for key in [catalogue.resource_name(it.profile) for it in gpu.instances] or (
                [] if gpu.mig_enabled else [builders.GPU]
            ):
                found[key] = found.get(key, 0) + 1
        node.allocatable = found
        old = {key: value for key, value in node.labels.items() if not key.endswith(".count")}
        counts = {f"{key}.count": str(number) for key, number in found.items() if key != builders.GPU}
        node.labels = old | counts | {names.MIG_STRATEGY_LABEL: "mixed"}

    def holding(self, node: NodeSim) -> list[PodSim]:
        return [pod for pod in self.pods.values() if pod.node == node.name and not pod.over]

    def held(self, node: NodeSim) -> set[str]:
        return {uuid for pod in self.holding(node) for uuid in pod.uuids}

    # What the API server shows.

    def now(self) -> datetime.datetime:
        return builders.NOW + datetime.timedelta(seconds=self.now_s)

    def show_node(self, node: NodeSim) -> fleet.Node:
        labels = node.labels | {names.GPU_PRODUCT_LABEL: node.product, POOL_LABEL: node.pool}
        taints = (
            (fleet.Taint(names.REPARTITION_TAINT, "", "NoSchedule"),) if node.fenced_s is not None else ()
        )
        return fleet.Node(
            name=node.name,
            labels=labels,
            allocatable=dict(node.allocatable),
            ready=self.now_s >= node.down_until_s,
            unschedulable=node.cordoned,
            uid=node.uid,
            annotations=dict(node.annotations),
            taints=taints,
            boot_id=node.boot_id,
            devices=node.map,
        )

    def show_pod(self, pod: PodSim) -> fleet.Pod:
        waits = not pod.node and not pod.over
        term = ((fleet.Requirement(POOL_LABEL, "In", (pod.pool,)),),) if waits else ()
        return builders.make_pod(
            pod.name,
            namespace="team",
            node=pod.node,
            phase="Succeeded" if pod.over else ("Running" if pod.uuids else "Pending"),
            deleting=pod.leaving_at_s is not None,
            requests={pod.resource: 1},
            unschedulable_message="0/9 nodes are available" if waits else "",
            constraints=fleet.Constraints(term),
            evictable=pod.evictable,
        )

    def view(self) -> snapshot.Snapshot:
        return builders.make_snapshot(
            [self.show_node(node) for node in self.nodes.values()],
            [self.show_pod(pod) for pod in self.pods.values()],
            pools=self.pools,
        )

    # What happens by itself.

    def is_due(self, node: NodeSim, part: str, chance: float) -> bool:
        """Whether this part of the node looks now: by chance, and never later than it may."""
        late = self.now_s - node.looked_s.get(part, 0.0) > LAG_S - 20.0
        if late or self.rng.random() < chance:
            node.looked_s[part] = self.now_s
            return True
        return False

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        for pod in list(self.pods.values()):
            is_left = pod.leaving_at_s is not None and self.now_s >= pod.leaving_at_s
            if is_left or (pod.uuids and self.now_s - pod.bound_s > pod.lasts_s):
                pod.over, pod.uuids = True, ()
            if pod.over and self.rng.random() < 0.2:
                del self.pods[pod.name]

    def run_scheduler(self) -> None:
        """Places on what is allocatable; it learns of a taint a little late."""
        for pod in self.pods.values():
            if pod.node or pod.over:
                continue
            for node in self.nodes.values():
                fenced = node.fenced_s is not None and self.now_s - node.fenced_s > SCHEDULER_LAG_S
                taken = sum(it.resource == pod.resource for it in self.holding(node))
                is_open = not (fenced or node.cordoned or self.now_s < node.down_until_s)
                if is_open and pod.pool == node.pool and node.allocatable.get(pod.resource, 0) > taken:
                    pod.node, pod.bound_s = node.name, self.now_s
                    break

    def run_kubelets(self) -> None:
        """Gives bound pods devices; a pod that finds none is refused for good."""
        for pod in self.pods.values():
            if not pod.node or pod.over or pod.uuids:
                continue
            node = self.nodes[pod.node]
            if self.now_s < node.down_until_s:
                continue
            free = [uuid for uuid in self.find_devices(node, pod.resource) if uuid not in self.held(node)]
            if free:
                pod.uuids = (self.rng.choice(free),)
            else:
                pod.over = True

    def find_devices(self, node: NodeSim, resource: str) -> list[str]:
        if resource == builders.GPU:
            return [gpu.uuid for gpu in node.gpus if not gpu.mig_enabled]
        return [
            it.uuid
            for gpu in node.gpus
            for it in gpu.instances
            if catalogue.resource_name(it.profile) == resource
        ]

    def run_manager(self, node: NodeSim) -> None:
        """One tick of mig-manager: `pending`, some time, then what the hardware says."""
        if self.now_s < node.down_until_s:
            return
        manager, label = node.manager, node.labels.get(names.MIG_CONFIG_LABEL, "")
        if manager.started_s is None:
            if label and label != manager.applied:
                manager.applied, manager.started_s = label, self.now_s
                node.labels[names.MIG_STATE_LABEL] = "pending"
            return
        if manager.stuck or self.now_s - manager.started_s < 20:
            return
        manager.started_s = None
        node.labels[names.MIG_STATE_LABEL] = self.apply(node, manager)

    def apply(self, node: NodeSim, manager: Manager) -> str:
        held, refused = self.held(node), False
        for gpu in node.gpus:
            gpu.set_busy(held)
        try:
            known = parse(manager.file) if manager.file else {}
            defaults = migconfig.build_defaults([node.gpus[0].model])
            entries = known.get(manager.applied) or defaults.get(manager.applied)
            if entries is None:
                return "failed"
            wanted = migconfig.plan_wanted(entries, node.gpus)
            if manager.fails:
                raise device.DeviceError("ERROR_UNKNOWN", "told to fail")
            repartition.apply(node.gpus, wanted)
        except migconfig.ConfigError:
            return "failed"
        except device.DeviceError as error:
            node.log.append(str(error))
            refused = error.code == device.IN_USE
            return "failed"
        finally:
            assert node.meddled or not refused, f"{node.name}: {node.log}"
            alive = {gpu.uuid for gpu in node.gpus} | {it.uuid for gpu in node.gpus for it in gpu.instances}
            assert held <= alive, f"{node.name}: a busy instance is gone"
        return "success"

    # What the operator does.

    def run_operator(self, *, stale: bool = False, dies_after: int = 10_000) -> rounds.Round:
        """A pass; with `stale` the view is an old one, with `dies_after` only so many writes are done."""
        view = self.view()
        seen = self.old_view if stale and self.old_view else view
        self.old_view = view
        settings = rounds.Settings(LIMITS, "gpu-operator")
        found = rounds.decide(seen, self.file, self.now(), settings)
        self.seen |= {one.reason for one in found.nodes}
        left = dies_after
        if found.file and found.file.text is not None and left:
            self.write_file()
            left -= 1
        for order in found.orders[:left]:
            self.carry_out(order)
        return found

    def write_file(self) -> None:
        """As the applier: from what is there now, not from what the pass saw."""
        view = self.view()
        found = rounds.decide(view, self.file, self.now(), rounds.Settings(LIMITS)).file
        if found and found.text is not None:
            assert found.size <= configs.LIMIT_BYTES
            self.file = found.text

    def carry_out(self, order: rounds.Order) -> None:
        node = self.nodes.get(order.node)
        if node is None:
            return
        pods = [self.show_pod(pod) for pod in self.pods.values() if pod.node == node.name]
        step = rounds.check(order, self.show_node(node), pods, self.now())
        if step is None:
            return
        assert node.pool != "advised", "an Advisory pool is written to"
        assert not (step.kind == "Begin" and node.cordoned), "people's node"
        node.log.append(f"{self.now_s:.0f} {step.kind} {order.step.patch.labels}")
        if step.kind in ("Label", "RollBack"):
            self.check_label(node, step.patch.labels[names.MIG_CONFIG_LABEL] or "")
        if step.kind == "Label":
            self.check_reserve(node, step.patch.labels[names.MIG_CONFIG_LABEL] or "")
        self.finished += step.kind == "Finish"
        for pod in step.evict:
            self.evict(pod.name)
        self.patch(node, step.patch)

    def check_label(self, node: NodeSim, label: str) -> None:
        """At the moment of the label: nobody has, or is about to be given, a GPU that will be cleared."""
        node.meddled = node.fenced_s is None
        wanted = migconfig.plan_wanted(parse(self.file or EMPTY).get(label, ()), node.gpus)
        changing = [gpu for gpu in node.gpus if gpu.index in wanted]
        changing = [gpu for gpu in changing if not migconfig.is_applied(gpu, wanted[gpu.index])]
        switched = [gpu for gpu in changing if gpu.mig_enabled != wanted[gpu.index].mig_enabled]
        if any(gpu.model.keeps_mig_mode_over_reboot for gpu in switched):
            changing = node.gpus
        uuids = {gpu.uuid for gpu in changing} | {it.uuid for gpu in changing for it in gpu.instances}
        assert not uuids & self.held(node), f"{node.name}: {node.log}"
        coming = [pod.name for pod in self.holding(node) if not pod.uuids]
        assert not (coming and changing), f"{node.name}: {coming}: {node.log}"

    def check_reserve(self, node: NodeSim, label: str) -> None:
        """No change leaves fewer GPUs whole than the pool reserves, or than there were when it began."""
        [policy] = [pool.spec.mig for pool in self.pools if pool.metadata.name == node.pool]
        assert policy is not None
        wanted = migconfig.plan_wanted(parse(self.file or EMPTY).get(label, ()), node.gpus)
        change = mig.Change.from_text(node.annotations[names.MIG_CHANGE_ANNOTATION])
        before = sum(slices is None for _, slices in change.back.gpus) if change.back else 0
        modes = [
            wanted[gpu.index].mig_enabled if gpu.index in wanted else gpu.mig_enabled for gpu in node.gpus
        ]
        least = min(policy.reserved_whole_gpus, before)
        assert modes.count(False) >= least, f"{node.name}: {node.log}"
        self.reserved += least > 0 and before > least

    def evict(self, name: str) -> None:
        """A PodDisruptionBudget refuses now and then."""
        pod = self.pods[name]
        assert pod.evictable
        if self.rng.random() < 0.7:
            pod.leaving_at_s = self.now_s + 10

    def patch(self, node: NodeSim, patch: steps.Patch) -> None:
        for target, changes in ((node.annotations, patch.annotations), (node.labels, patch.labels)):
            for key, value in changes.items():
                if value is None:
                    target.pop(key, None)
                else:
                    target[key] = value
        if patch.fence is not None:
            node.fenced_s = self.now_s if patch.fence else None

    # What has to hold at any moment.

    def check(self) -> None:
        flying: dict[str, int] = {}
        for node in self.nodes.values():
            for gpu in node.gpus:
                assert geometry.is_legal(gpu.model, gpu.placements)
            if names.MIG_CHANGE_ANNOTATION in node.annotations:
                flying[node.pool] = flying.get(node.pool, 0) + 1
        for pool in self.pools:
            assert pool.spec.mig is not None
            assert flying.get(pool.metadata.name, 0) <= pool.spec.mig.max_nodes_in_flight
