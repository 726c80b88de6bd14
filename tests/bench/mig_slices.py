"""A model of who takes which slice: the scheduler among nodes, the device plugin within one.

Nodes of equally cut GPUs; pods for slices come and go. The scheduler takes, of nodes with a free slice, one
that is preferred if there is, else the one with fewest pods (NodeResourcesFit scores by cpu and memory, and
every pod asks for the same). The plugin takes the GPU with most free slices (distributed) or with least
(packed). What counts is how many GPUs nobody holds: those mig-manager can cut anew.
"""

from __future__ import annotations

import collections
import dataclasses
import random
import statistics
from collections.abc import Sequence

from gpufleet.decide.mig import slicechoice

NODES = 40
GPUS = 8
LAYOUT = {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}
"""mig-parted's all-balanced on 80 GB."""
STEPS = 12_000
WARM_UP = 4_000
PASS_EVERY = 5
"""Pods that come between two passes of the cycle, whose labels the scheduler sees."""


@dataclasses.dataclass
class Result:
    """`whole` is the mean share of GPUs that nobody holds, at `load` of all slices held."""

    whole: float
    load: float
    label_writes: float
    """Per pod that came."""


class World:
    """Held slices per node, GPU and profile; labels as the last pass has written them."""

    def __init__(self, policy: slicechoice.Policy, prefers: bool, knows_gpus: bool, seed: int) -> None:
        self.policy: slicechoice.Policy = policy
        self.prefers = prefers
        self.knows_gpus = knows_gpus
        self.rng = random.Random(seed)
        self.held = [[collections.Counter[str]() for _ in range(GPUS)] for _ in range(NODES)]
        self.pods: list[tuple[int, int, str]] = []
        self.labels: dict[str, frozenset[str]] = {}
        self.writes = 0

    def free(self, node: int, profile: str) -> list[int]:
        return [gpu for gpu in range(GPUS) if self.held[node][gpu][profile] < LAYOUT[profile]]

    def come(self, profile: str) -> None:
        """A pod; one that finds no slice goes away."""
        nodes = [node for node in range(NODES) if self.free(node, profile)]
        if not nodes:
            return
        wanted = [node for node in nodes if profile in self.labels.get(_name(node), ())]
        node = min(wanted or nodes, key=lambda one: (self.pods_on(one), self.rng.random()))
        sign = 1 if self.policy == "distributed" else -1
        gpu = min(self.free(node, profile), key=lambda one: (sign * self.held[node][one].total(), one))
        self.held[node][gpu][profile] += 1
        self.pods.append((node, gpu, profile))

    def go(self) -> None:
        """Any pod ends."""
        node, gpu, profile = self.pods.pop(self.rng.randrange(len(self.pods)))
        self.held[node][gpu][profile] -= 1

    def pods_on(self, node: int) -> int:
        return sum(gpu.total() for gpu in self.held[node])

    def write_labels(self) -> None:
        """One pass of the cycle."""
        wanted = slicechoice.choose([self.read(node) for node in range(NODES)], self.policy)
        for node in map(_name, range(NODES)):
            self.writes += self.labels.get(node, frozenset()) != wanted.get(node, frozenset())
        self.labels = wanted

    def read(self, node: int) -> slicechoice.Node:
        """With the node agent GPU by GPU, else the node as one."""
        boards = [
            slicechoice.Board(
                {name: count - gpu[name] for name, count in LAYOUT.items() if count > gpu[name]}, gpu.total()
            )
            for gpu in self.held[node]
        ]
        if not self.knows_gpus:
            idle: collections.Counter[str] = collections.Counter()
            for board in boards:
                idle.update(board.idle)
            boards = [slicechoice.Board(idle, sum(board.held for board in boards))]
        name = _name(node)
        return slicechoice.Node(name, "H100", tuple(boards), self.labels.get(name, frozenset()))

    @property
    def whole(self) -> float:
        idle = sum(not gpu.total() for node in self.held for gpu in node)
        return idle / (NODES * GPUS)


def simulate(
    policy: slicechoice.Policy, *, prefers: bool, knows_gpus: bool = True, load: float = 0.35, seed: int = 1
) -> Result:
    """Pods of all profiles at random, so many that about `load` of the slices are held."""
    world = World(policy, prefers, knows_gpus, seed)
    wanted = load * NODES * GPUS * sum(LAYOUT.values())
    profiles = [name for name, count in LAYOUT.items() for _ in range(count)]
    shares: list[float] = []
    loads: list[float] = []
    came = 0
    for step in range(STEPS):
        if world.rng.random() < 1 / (1 + (len(world.pods) / wanted) ** 8):
            world.come(world.rng.choice(profiles))
            came += 1
            if prefers and came % PASS_EVERY == 0:
                world.write_labels()
        elif world.pods:
            world.go()
        if step >= WARM_UP:
            shares.append(world.whole)
            loads.append(len(world.pods) / (NODES * GPUS * sum(LAYOUT.values())))
    return Result(statistics.mean(shares), statistics.mean(loads), world.writes / came)


def _name(node: int) -> str:
    return f"n{node:03}"


def compare() -> dict[str, Result]:
    """Every policy of the plugin, with and without the preference."""
    policies: Sequence[slicechoice.Policy] = ("distributed", "packed")
    found: dict[str, Result] = {}
    for policy in policies:
        found[policy] = simulate(policy, prefers=False)
        found[f"{policy}, preferred"] = simulate(policy, prefers=True)
        found[f"{policy}, preferred, without agents"] = simulate(policy, prefers=True, knows_gpus=False)
    return found
