"""Ten thousand random steps with faults: no busy instance is touched, no state is illegal, all converges."""

from __future__ import annotations

import collections
import random

import pytest

from gpufleet.decide.mig import catalogue, geometry
from gpufleet.decide.mig.repartition import facts, reasons
from gpufleet.simgpu import migconfig
from gpufleet.state import names
from tests.unit.gpufleet.decide.mig.repartition import chaos
from tests.unit.gpufleet.decide.mig.repartition import world as worlds

H100, H200 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"
A100, A30 = "NVIDIA-A100-SXM4-40GB", "NVIDIA-A30"
RTX = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"
ACTIVE = {"act": "Active", "drainTimeoutSeconds": 600}
POOLS = {
    "drained": {"mode": "Dynamic", "drainPolicy": "Drain", "maxNodesInFlight": 2, **ACTIVE},
    "waiting": {"mode": "Dynamic", "reservedWholeGPUs": 1, **ACTIVE},
    "static": {"mode": "Static", "layout": [{"profile": "2g.48gb", "count": 2}], **ACTIVE},
    "advised": {"mode": "Dynamic"},
}
SHAPE = {"drained": [H100, H100, H200], "waiting": [A100, A100, A30], "static": [RTX, RTX], "advised": [H100]}
STEPS, SEEDS, QUIET = 2_500, 4, 40


def act(world: worlds.World, *, calm: bool = False) -> None:
    """One step: some time, some part of the cluster, and a pass of the operator now and then."""
    world.pass_time(world.rng.choice((0.5, 2.0, 5.0, 20.0)))
    for part in world.rng.sample((world.run_scheduler, world.run_kubelets), k=2):
        part()
    for node in list(world.nodes.values()):
        if world.is_due(node, "manager", 0.5):
            world.run_manager(node)
        if world.is_due(node, "agent", 0.4):
            world.publish(node)
        if world.is_due(node, "plugin", 0.4):
            world.advertise(node)
        if world.is_due(node, "mount", 0.4):
            node.manager.file = world.file
    if calm:
        world.run_operator()
    elif world.rng.random() < 0.7:
        world.run_operator(stale=world.rng.random() < 0.2, dies_after=world.rng.choice((0, 1, 2, 50, 50)))
    world.check()


def calm_down(world: worlds.World, steps: int) -> None:
    """People have mended everything and nothing else goes wrong, until it has been quiet for long."""
    quiet = 0
    for _ in range(steps):
        for node in world.nodes.values():
            chaos.mend(world, node)
        act(world, calm=True)
        waits = any(not pod.over for pod in world.pods.values())
        quiet = 0 if waits or find_restless(world) else quiet + 1
        if quiet > QUIET:
            return


def find_restless(world: worlds.World) -> list[str]:
    """Nodes that are still fenced or changing."""
    return [
        node.name
        for node in world.nodes.values()
        if node.fenced_s is not None or names.MIG_CHANGE_ANNOTATION in node.annotations
    ]


def find_untrue(world: worlds.World) -> list[str]:
    """Nodes of which a record of ours says another layout than their GPUs have."""
    found = []
    for node in world.nodes.values():
        wanted = facts.read(world.show_node(node), ()).wanted
        label = node.labels.get(names.MIG_CONFIG_LABEL, "")
        if wanted is None or label != wanted.config or node.labels.get(names.MIG_STATE_LABEL) != "success":
            continue
        entries = migconfig.parse(world.file or "")[label]
        targets = migconfig.plan_wanted(entries, node.gpus)
        if not all(migconfig.is_applied(gpu, targets[gpu.index]) for gpu in node.gpus):
            found.append(node.name)
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.timeout(600)
def test_nothing_is_broken_and_everything_converges(seed: int) -> None:
    world = worlds.World(random.Random(seed), POOLS, SHAPE)
    struck: collections.Counter[str] = collections.Counter()
    for _ in range(STEPS):
        if world.rng.random() < 0.25:
            struck[chaos.strike(world)] += 1
        act(world)
    assert len(struck) == len(set(chaos.STRIKES)), "every fault has happened"
    assert world.finished > 10, "changes have been carried out meanwhile"
    assert world.reserved > 0, "a GPU could have been cut that has to stay whole"
    for pod in world.pods.values():
        pod.lasts_s = 0.0
    calm_down(world, 300)
    assert find_restless(world) == []
    assert find_untrue(world) == []
    assert {reasons.REPARTITIONED, reasons.LABEL_EDITED, reasons.AWAITING_PODS} <= world.seen
    assert_demand_is_served(world)


def assert_demand_is_served(world: worlds.World) -> None:
    """One pod for the largest profile of each device of the dynamic pools finds its slice in the end."""
    world.pods.clear()
    for node in list(world.nodes.values()):
        if node.pool in ("drained", "waiting") and any(gpu.mig_enabled for gpu in node.gpus):
            model = node.gpus[0].model
            profile = geometry.profile_of(model, model.profiles[-1].name).name
            name = f"last-{node.name}"
            world.pods[name] = worlds.PodSim(
                name, catalogue.resource_name(profile), node.pool, evictable=False, lasts_s=50.0
            )
    wanted = set(world.pods)
    assert wanted
    calm_down(world, 600)
    left = {name for name in wanted if name in world.pods and not world.pods[name].over}
    assert left == set(), {name: world.pods[name] for name in left}
    assert find_restless(world) == []
