"""What people and faults do to the small world, one at a time."""

from __future__ import annotations

from gpufleet.decide.mig import catalogue
from gpufleet.decide.mig.repartition import facts
from gpufleet.state import names
from tests import builders
from tests.unit.gpufleet.decide.mig.repartition import world as worlds


def strike(world: worlds.World) -> str:
    """One of them, by chance; its name."""
    strike = world.rng.choice(STRIKES)
    node = world.rng.choice(sorted(world.nodes.values(), key=lambda one: one.name))
    if strike not in (ask, mend):
        node.meddled = True
        node.log.append(f"{world.now_s:.0f} {strike.__name__}")
    strike(world, node)
    return strike.__name__


def ask(world: worlds.World, node: worlds.NodeSim) -> None:
    """A pod for a random profile of the pool, or a whole GPU; some never end by themselves."""
    world.made += 1
    name, model = f"pod-{world.made}", node.gpus[0].model
    resource = catalogue.resource_name(world.rng.choice(model.profiles).name)
    resource = builders.GPU if world.rng.random() < 0.1 else resource
    lasts_s = world.rng.choice((60.0, 300.0, 2000.0, 1e9))
    world.pods[name] = worlds.PodSim(name, resource, node.pool, world.rng.random() < 0.5, lasts_s)


def edit_label(world: worlds.World, node: worlds.NodeSim) -> None:
    node.labels[names.MIG_CONFIG_LABEL] = world.rng.choice(("all-disabled", "all-balanced", "nonsense"))


def reboot(world: worlds.World, node: worlds.NodeSim) -> None:
    """Pods and instances are gone; mig-manager starts anew."""
    for pod in world.holding(node):
        pod.over, pod.uuids = True, ()
    for gpu in node.gpus:
        gpu.set_busy(())
        gpu.clear()
        if not gpu.model.keeps_mig_mode_over_reboot:
            gpu.set_mig_mode(False)
    if len(node.gpus) > 1 and world.rng.random() < 0.3:
        node.gpus.pop()
    node.boot += 1
    node.down_until_s = world.now_s + 60
    node.manager = worlds.Manager(file=node.manager.file, stuck=node.manager.stuck)


def restart_kubelet(world: worlds.World, node: worlds.NodeSim) -> None:
    node.down_until_s = world.now_s + world.rng.choice((5, 30, 200))


def lose_node(world: worlds.World, node: worlds.NodeSim) -> None:
    """It is gone with its pods; a new one comes under the same name."""
    for pod in world.holding(node):
        del world.pods[pod.name]
    world.add_node(node.name, node.pool, node.product, len(node.gpus))


def toggle_cordon(world: worlds.World, node: worlds.NodeSim) -> None:
    node.cordoned = not node.cordoned


def remove_fence(world: worlds.World, node: worlds.NodeSim) -> None:
    node.fenced_s = None


def spoil_record(world: worlds.World, node: worlds.NodeSim) -> None:
    if names.MIG_CHANGE_ANNOTATION in node.annotations:
        node.annotations[names.MIG_CHANGE_ANNOTATION] = world.rng.choice(("", "{}", "[1]", "nonsense"))


def drop_record(world: worlds.World, node: worlds.NodeSim) -> None:
    node.annotations.pop(world.rng.choice((names.MIG_CHANGE_ANNOTATION, names.MIG_WANTED_ANNOTATION)), None)


def silence_agent(world: worlds.World, node: worlds.NodeSim) -> None:
    node.map = None


def delete_file(world: worlds.World, node: worlds.NodeSim) -> None:
    world.file = None


def edit_file(world: worlds.World, node: worlds.NodeSim) -> None:
    """Somebody adds a configuration of their own, and changes one of ours."""
    text = world.file or "version: v1\nmig-configs:\n"
    theirs = "  theirs:\n    - devices: all\n      mig-enabled: false\n"
    text = text if "theirs:" in text else text + theirs
    world.file = text.replace('":2', '":1', 1)


def stick(world: worlds.World, node: worlds.NodeSim) -> None:
    node.manager.stuck = True


def fail(world: worlds.World, node: worlds.NodeSim) -> None:
    node.manager.fails = True


def pause(world: worlds.World, node: worlds.NodeSim) -> None:
    node.labels[worlds.DEPLOY] = facts.PAUSED


def mend(world: worlds.World, node: worlds.NodeSim) -> None:
    """A person has followed the commands in the messages."""
    node.manager.stuck = node.manager.fails = False
    node.labels.pop(worlds.DEPLOY, None)
    node.cordoned = False


STRIKES = (
    ask, ask, ask, ask, ask, ask, ask, ask, edit_label, reboot, restart_kubelet, lose_node, toggle_cordon,
    remove_fence, spoil_record, drop_record, silence_agent, delete_file, edit_file, stick, fail, pause,
    mend, mend, mend, mend, mend,
)  # fmt: skip
