"""A service of several revisions on a fleet with so many places, under a Deployment controller."""

from __future__ import annotations

import dataclasses
import datetime
import random

from gpufleet.api import rollout as rollouts
from gpufleet.decide.serving import rollout
from tests.builders import NOW


@dataclasses.dataclass
class Server:
    revision: str
    ready: bool = False
    leaving: bool = False
    placed: bool = False


@dataclasses.dataclass
class World:
    """`places` is how many servers fit; a revision in `broken` never becomes ready."""

    replicas: int
    places: int
    policy: rollouts.Rollout = dataclasses.field(default_factory=rollouts.Rollout)
    broken: frozenset[str] = frozenset()
    wanted: str = "old"
    rng: random.Random = dataclasses.field(default_factory=random.Random)
    now: datetime.datetime = NOW
    deployments: dict[str, int] = dataclasses.field(default_factory=dict)
    servers: list[Server] = dataclasses.field(default_factory=list)
    status: rollouts.RolloutStatus | None = None
    answered: str = ""
    granted: int = 0
    seen: list[rollouts.RolloutStatus | None] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.deployments = {"old": self.replicas}
        self.servers = [Server("old", ready=True, placed=True) for _ in range(self.replicas)]

    def ready(self, revision: str | None = None) -> int:
        return sum(one.ready and revision in (None, one.revision) for one in self.servers)

    def run(self, passes: int = 400) -> None:
        """Until a pass changes nothing any more, time excepted."""
        for _ in range(passes):
            self.step()

    def step(self) -> None:
        """One pass of the operator, then a random part of what the cluster has to do."""
        self.now += datetime.timedelta(seconds=5)
        self._grant()
        step = rollout.plan(self._facts(), self.now)
        self.status = step.status
        self.seen.append(step.status)
        self.deployments = {
            name: count
            for name, count in step.replicas.items()
            if name in self.deployments or name == self.wanted
        }
        self._follow_deployments()
        for one in self.rng.sample(self.servers, k=self.rng.randint(0, len(self.servers))):
            self._proceed(one)

    def _facts(self) -> rollout.Facts:
        found = {}
        for name in {*self.deployments, *(one.revision for one in self.servers)}:
            here = [one for one in self.servers if one.revision == name]
            alive = [one for one in here if not one.leaving]
            known = name in self.deployments
            found[name] = rollout.Revision(
                name,
                desired=self.deployments.get(name, 0),
                ready=sum(one.ready for one in alive) if known else 0,
                present=len(here),
                failing=known and name in self.broken and bool(alive),
            )
        return rollout.Facts(
            wanted=self.wanted,
            replicas=self.replicas,
            revisions=found,
            policy=self.policy,
            before=self.status,
            answered=self.answered,
            granted=self.granted,
        )

    def _grant(self) -> None:
        """As the cycle does: what was granted stays."""
        asked = self.status
        if asked is None or asked.phase == "Returned":
            self.answered, self.granted = "", 0
        elif asked.phase != "Canary":
            size = rollout.step_size(self.replicas, self.policy)
            before = self.granted if self.answered == asked.request else 0
            bound = sum(one.placed and not one.leaving for one in self.servers)
            leaving = sum(one.placed and one.leaving for one in self.servers)
            free = self.places - bound - leaving
            promised = max(0, self.replicas + before - bound)
            lack = max(0, promised - free - leaving)
            there = min(size, max(0, before - lack, bound - self.replicas))
            more = max(0, min(size - there, free - promised))
            self.answered, self.granted = asked.request, there + more

    def _follow_deployments(self) -> None:
        for name in {*self.deployments, *(one.revision for one in self.servers)}:
            alive = [one for one in self.servers if one.revision == name and not one.leaving]
            wanted = self.deployments.get(name, 0)
            self.servers += [Server(name) for _ in range(wanted - len(alive))]
            # A ReplicaSet lets unready pods go first.
            for one in sorted(alive, key=lambda one: one.ready)[: max(0, len(alive) - wanted)]:
                one.leaving, one.ready = True, False

    def _proceed(self, one: Server) -> None:
        if one.leaving:
            self.servers.remove(one)
        elif not one.placed:
            one.placed = sum(other.placed for other in self.servers) < self.places
        else:
            one.ready = one.revision not in self.broken
