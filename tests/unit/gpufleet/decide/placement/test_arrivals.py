"""A fleet in use: gangs come, start, fail and end in any order, and no device is promised twice."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import assign as assigning
from gpufleet.state import fleet, snapshot
from tests import builders
from tests.builders import (
    GPU,
    NOW,
    make_job,
    make_node,
    make_service,
    make_service_pod,
    make_snapshot,
    make_worker,
)

SIZES = st.integers(0, 9)
DONE = builders.make_condition("Succeeded", "True", reasons.COMPLETED).to_wire()


@dataclasses.dataclass
class Gang:
    """A TrainingJob and its workers; `attempt` is 0 until its first Job exists."""

    name: str
    smallest: int
    largest: int
    created_s: float
    attempt: int = 0
    assignment: dict[str, Any] | None = None
    pods: list[fleet.Pod] = dataclasses.field(default_factory=list)
    is_done: bool = False

    @property
    def workers(self) -> int:
        return self.assignment["workers"] if self.assignment else 0

    @property
    def present(self) -> list[fleet.Pod]:
        """Workers of the attempt that runs."""
        newest = str(self.attempt)
        return [pod for pod in self.pods if pod.labels["gpufleet.dev/attempt"] == newest]

    @property
    def is_running(self) -> bool:
        present = self.present
        return bool(present) and not (self.is_done or self.has_failed) and all(pod.node for pod in present)

    @property
    def may_restart(self) -> bool:
        return self.has_failed and all(pod.is_terminal for pod in self.pods)

    @property
    def has_failed(self) -> bool:
        return any(pod.phase == "Failed" or pod.deleting for pod in self.present)

    def build(self, count: int) -> training_job.TrainingJob:
        status: dict[str, Any] = {"attempt": self.attempt, "conditions": [DONE] if self.is_done else []}
        return make_job(
            self.name,
            workers={"min": self.smallest, "max": self.largest},
            accelerator={"count": count},
            created_s=self.created_s,
            status={**status, **({"assignment": self.assignment} if self.assignment else {})},
        )

    def count_missing(self) -> int:
        """Workers that have yet to get devices before the gang can go on."""
        if self.is_done or not self.workers:
            return 0
        if self.has_failed:
            return self.workers
        return self.workers - sum(bool(pod.node) for pod in self.present)


class Fleet:
    """One need for all, so that each place serves any pod and the sums are exact."""

    def __init__(self, count: int, sizes: list[int], replicas: int) -> None:
        self.count, self.replicas = count, replicas
        self.nodes = [make_node(f"n{index}", {GPU: size}) for index, size in enumerate(sizes)]
        self.gangs: list[Gang] = []
        self.servers: list[fleet.Pod] = []
        self.service_assignment: dict[str, Any] = {}

    def possible(self) -> list[Callable[[int], None]]:
        """What may happen next, each with the gang or pod that its argument picks."""
        steps = [self.run_cycle] * 2
        steps += [self.submit] if len(self.gangs) < 6 else []
        steps += [self.create_server] if len(self.servers) < self.wanted_servers else []
        steps += [self.create_workers] * 3 if self.startable else []
        steps += [self.bind] * 6 if self.pending else []
        steps += [self.fail, self.succeed, self.succeed, self.lose_assignment] if self.running else []
        steps += [self.end_deleted] * 2 if any(pod.deleting for pod in self.all_pods()) else []
        return steps

    @property
    def wanted_servers(self) -> int:
        return int(self.service_assignment.get("replicas", 0))

    @property
    def pending(self) -> list[fleet.Pod]:
        return [one for one in self.all_pods() if not one.node and not one.deleting and self.nodes]

    @property
    def startable(self) -> list[Gang]:
        """Gangs whose first attempt, or the next once no worker of the last one holds anything, may start."""
        return [
            gang
            for gang in self.gangs
            if gang.workers and not gang.is_done and (not gang.attempt or gang.may_restart)
        ]

    @property
    def running(self) -> list[Gang]:
        return [gang for gang in self.gangs if gang.is_running]

    def all_pods(self) -> list[fleet.Pod]:
        return [*self.servers, *(pod for gang in self.gangs for pod in gang.pods)]

    def show(self) -> snapshot.Snapshot:
        service = make_service(
            replicas=self.replicas,
            accelerator={"count": self.count},
            status={"assignment": self.service_assignment} if self.service_assignment else {},
        )
        started = (gang for gang in self.gangs if gang.attempt and not gang.is_done)
        return make_snapshot(
            self.nodes,
            self.all_pods(),
            services=[service],
            jobs=[gang.build(self.count) for gang in self.gangs],
            live_workers={f"uid-{gang.name}": len(gang.present) for gang in started},
        )

    @staticmethod
    def count_held(node: fleet.Node, pods: Iterable[fleet.Pod]) -> int:
        return sum(pod.requests[GPU] for pod in pods if pod.node == node.name and not pod.is_terminal)

    def count_room(self) -> int:
        """Pods that fit beside those that stay."""
        staying = [pod for pod in self.all_pods() if not pod.deleting]
        held = (self.count_held(node, staying) for node in self.nodes)
        return sum(
            (node.allocatable[GPU] - one) // self.count for node, one in zip(self.nodes, held, strict=True)
        )

    def submit(self, choice: int) -> None:
        smallest, more, created_s = 1 + choice % 4, choice // 4 % 3, -float(choice % 7)
        self.gangs.append(Gang(f"g{len(self.gangs)}", smallest, smallest + more, created_s))

    def run_cycle(self, _: int = 0) -> None:
        waiting = [gang for gang in self.gangs if not gang.workers and not gang.attempt]
        view = self.show()
        by_name = {gang.name: gang for gang in self.gangs}
        for one in assigning.assign(view, {}, NOW):
            if one.kind == training_job.KIND:
                by_name[one.name].assignment = dict(one.value)
            else:
                self.service_assignment = dict(one.value)
        assert assigning.assign(self.show(), {}, NOW) == (), "what was written is not written again"
        self._check_turn(sorted(waiting, key=lambda gang: (gang.created_s, gang.name)))

    def _check_turn(self, queue: list[Gang]) -> None:
        for gang in queue:
            assert gang.workers == 0 or gang.smallest <= gang.workers <= gang.largest
        for first, later in itertools.combinations(queue, 2):
            if first.workers == 0:
                assert later.workers < first.smallest, "only what was of no use to the first goes to others"

    def create_workers(self, choice: int) -> None:
        gang = self.startable[choice % len(self.startable)]
        gang.attempt += 1
        gang.pods += [
            make_worker(
                f"{gang.name}-{gang.attempt}-{rank}", gang.name, gang.attempt, requests={GPU: self.count}
            )
            for rank in range(gang.workers)
        ]

    def create_server(self, _: int) -> None:
        self.servers.append(make_service_pod(f"s{len(self.servers)}", requests={GPU: self.count}))

    def bind(self, choice: int) -> None:
        """The scheduler may take any node on which the pod fits."""
        pod = self.pending[choice % len(self.pending)]
        for node in self.nodes[choice % len(self.nodes) :] + self.nodes[: choice % len(self.nodes)]:
            if self.count_held(node, self.all_pods()) + self.count <= node.allocatable[GPU]:
                self._replace(pod, node=node.name, phase="Running")
                return

    def fail(self, choice: int) -> None:
        """One worker fails and the Job controller deletes the others. None fails once another has ended."""
        gang = self.running[choice % len(self.running)]
        if any(pod.is_terminal for pod in gang.present):
            return
        failed = gang.present[choice % len(gang.present)]
        for pod in gang.present:
            self._replace(pod, **({"phase": "Failed"} if pod is failed else {"deleting": True}))

    def end_deleted(self, _: int) -> None:
        for gang in self.gangs:
            gang.pods = [pod for pod in gang.pods if not pod.deleting]

    def succeed(self, choice: int) -> None:
        """One worker ends well."""
        gang = self.running[choice % len(self.running)]
        running = [pod for pod in gang.present if pod.phase == "Running"]
        self._replace(running[0], phase="Succeeded")
        gang.is_done = len(running) == 1

    def lose_assignment(self, choice: int) -> None:
        """As after a restored backup, of a gang that runs."""
        gang = self.running[choice % len(self.running)]
        gang.assignment = None
        self.run_cycle()
        assert gang.workers == len(gang.present)

    def _replace(self, pod: fleet.Pod, **fields: Any) -> None:
        for pods in (self.servers, *(gang.pods for gang in self.gangs)):
            pods[:] = [dataclasses.replace(one, **fields) if one is pod else one for one in pods]

    def check(self) -> None:
        """Every admitted gang can start, wherever the scheduler has put what is there."""
        missing = sum(gang.count_missing() for gang in self.gangs)
        servers = self.wanted_servers - sum(bool(pod.node) for pod in self.servers)
        assert missing == 0 or missing + servers <= self.count_room()


STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 11)), min_size=40, max_size=40)


@how(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.lists(SIZES, min_size=1, max_size=4), st.integers(0, 3), STEPS)
def test_nothing_is_promised_twice(
    count: int, sizes: list[int], replicas: int, steps: list[tuple[int, int]]
) -> None:
    fleet_ = Fleet(count, sizes, replicas)
    for which, choice in steps:
        possible = fleet_.possible()
        possible[which % len(possible)](choice)
        fleet_.check()


@how(max_examples=40, deadline=None)
@given(st.data())
def test_the_order_of_the_snapshot_says_nothing(data: st.DataObject) -> None:
    nodes = [make_node(f"n{index}", {GPU: data.draw(SIZES)}) for index in range(3)]
    jobs = [
        make_job(
            f"j{index}",
            workers={"min": 1, "max": data.draw(st.integers(1, 3))},
            accelerator={"count": data.draw(st.integers(1, 3))},
            created_s=data.draw(st.integers(-2, 0)),
        )
        for index in range(4)
    ]
    services = [make_service(f"s{index}", accelerator={"count": 2}) for index in range(2)]
    pods = [make_service_pod(f"p{index}", "s0", node="n0", requests={GPU: 2}) for index in range(2)]
    view = make_snapshot(nodes, pods, services=services, jobs=jobs)
    shuffled = dataclasses.replace(
        view,
        **{
            field: tuple(data.draw(st.permutations(getattr(view, field))))
            for field in ("nodes", "pods", "services", "jobs")
        },
    )
    values = (
        {(one.kind, one.name): one.value for one in assigning.assign(one_view, {}, NOW)}
        for one_view in (view, shuffled)
    )
    assert next(values) == next(values)
