"""A fleet in use: gangs come, start, fail and end in any order, and no device is promised twice."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from hypothesis import given, stateful
from hypothesis import settings as how
from hypothesis import strategies as st

from gpufleet.api import reasons, training_job
from gpufleet.decide.placement import assign as assigning
from gpufleet.state import fleet, snapshot
from tests import builders
from tests.builders import (
    GPU,
    make_job,
    make_node,
    make_service,
    make_service_pod,
    make_snapshot,
    make_worker,
)

SIZES = st.integers(0, 9)
INDEX = st.integers(0, 9)
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


class Fleet(stateful.RuleBasedStateMachine):
    """One need for all, so that each place serves any pod and the sums are exact."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.replicas = 0
        self.nodes: list[fleet.Node] = []
        self.gangs: list[Gang] = []
        self.servers: list[fleet.Pod] = []
        self.service_assignment: dict[str, Any] = {}

    @stateful.initialize(
        count=st.sampled_from([1, 2, 3]), sizes=st.lists(SIZES, max_size=4), replicas=st.integers(0, 3)
    )
    def install(self, count: int, sizes: list[int], replicas: int) -> None:
        self.count, self.replicas = count, replicas
        self.nodes = [make_node(f"n{index}", {GPU: size}) for index, size in enumerate(sizes)]

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

    def count_room(self, *, holds_deleting: bool) -> int:
        """Pods that fit beside those that hold devices."""
        places = 0
        for node in self.nodes:
            held = sum(
                pod.requests[GPU]
                for pod in self.all_pods()
                if pod.node == node.name and not pod.is_terminal and (holds_deleting or not pod.deleting)
            )
            assert held <= node.allocatable[GPU]
            places += (node.allocatable[GPU] - held) // self.count
        return places

    @stateful.rule(smallest=st.integers(1, 4), more=st.integers(0, 3), created_s=st.integers(-9, 0))
    def submit(self, smallest: int, more: int, created_s: float) -> None:
        self.gangs.append(Gang(f"g{len(self.gangs)}", smallest, smallest + more, created_s))

    @stateful.rule()
    def run_cycle(self) -> None:
        waiting = [gang for gang in self.gangs if not gang.workers and not gang.attempt]
        view = self.show()
        by_name = {gang.name: gang for gang in self.gangs}
        for one in assigning.assign(view):
            if one.kind == training_job.KIND:
                by_name[one.name].assignment = dict(one.value)
            else:
                self.service_assignment = dict(one.value)
        assert assigning.assign(self.show()) == (), "what was written is not written again"
        self._check_turn(sorted(waiting, key=lambda gang: (gang.created_s, gang.name)))

    def _check_turn(self, queue: list[Gang]) -> None:
        for gang in queue:
            assert gang.workers == 0 or gang.smallest <= gang.workers <= gang.largest
        for first, later in itertools.combinations(queue, 2):
            if first.workers == 0:
                assert later.workers < first.smallest, "only what was of no use to the first goes to others"

    @stateful.rule(index=INDEX)
    def create_workers(self, index: int) -> None:
        """The first attempt, or the next once no worker of the last one holds anything."""
        gang = self._pick(index)
        if gang is None or gang.is_done or not gang.workers:
            return
        if gang.attempt and not (gang.has_failed and all(pod.is_terminal for pod in gang.pods)):
            return
        gang.attempt += 1
        gang.pods += [
            make_worker(
                f"{gang.name}-{gang.attempt}-{rank}", gang.name, gang.attempt, requests={GPU: self.count}
            )
            for rank in range(gang.workers)
        ]

    @stateful.rule()
    def create_server(self) -> None:
        if len(self.servers) < self.service_assignment.get("replicas", 0):
            name = f"s{len(self.servers)}"
            self.servers.append(make_service_pod(name, requests={GPU: self.count}))

    @stateful.rule(pod=INDEX, node=INDEX)
    def bind(self, pod: int, node: int) -> None:
        """The scheduler may take any node on which the pod fits."""
        pending = [one for one in self.all_pods() if not one.node and not one.deleting]
        if not pending or not self.nodes:
            return
        chosen, place = pending[pod % len(pending)], self.nodes[node % len(self.nodes)]
        held = sum(
            one.requests[GPU] for one in self.all_pods() if one.node == place.name and not one.is_terminal
        )
        if held + self.count <= place.allocatable[GPU]:
            self._replace(chosen, node=place.name, phase="Running")

    @stateful.rule(index=INDEX, rank=INDEX)
    def fail(self, index: int, rank: int) -> None:
        """One worker fails and the Job controller deletes the others. None fails once another has ended."""
        gang = self._pick(index)
        running = [pod for pod in gang.present if pod.node and pod.phase == "Running"] if gang else []
        if gang is None or not running or gang.has_failed or len(running) < len(gang.present):
            return
        failed = running[rank % len(running)]
        for pod in gang.present:
            self._replace(pod, **({"phase": "Failed"} if pod is failed else {"deleting": True}))

    @stateful.rule()
    def end_deleted(self) -> None:
        for gang in self.gangs:
            gang.pods = [pod for pod in gang.pods if not pod.deleting]

    @stateful.rule(index=INDEX)
    def succeed_in_part(self, index: int) -> None:
        """One worker ends well, when all of them run."""
        gang = self._pick(index)
        if gang and gang.present and not gang.has_failed and all(pod.node for pod in gang.present):
            running = [pod for pod in gang.present if pod.phase == "Running"]
            for pod in running[:1]:
                self._replace(pod, phase="Succeeded")
            gang.is_done = len(running) <= 1

    @stateful.rule(index=INDEX)
    def lose_assignment(self, index: int) -> None:
        """As after a restored backup, of a gang whose Job exists."""
        gang = self._pick(index)
        if gang and gang.present and not gang.has_failed:
            gang.assignment = None
            self.run_cycle()
            assert gang.is_done or gang.workers == len(gang.present)

    def _pick(self, index: int) -> Gang | None:
        return self.gangs[index % len(self.gangs)] if self.gangs else None

    def _replace(self, pod: fleet.Pod, **fields: Any) -> None:
        for pods in (self.servers, *(gang.pods for gang in self.gangs)):
            pods[:] = [dataclasses.replace(one, **fields) if one is pod else one for one in pods]

    @stateful.invariant()
    def every_admitted_gang_can_start(self) -> None:
        missing = sum(gang.count_missing() for gang in self.gangs)
        servers = self.service_assignment.get("replicas", 0) - sum(bool(pod.node) for pod in self.servers)
        assert missing == 0 or missing + servers <= self.count_room(holds_deleting=False)


TestFleet = Fleet.TestCase
TestFleet.settings = how(max_examples=80, stateful_step_count=40, deadline=None)


@how(max_examples=60, deadline=None)
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
        {(one.kind, one.name): one.value for one in assigning.assign(one_view)}
        for one_view in (view, shuffled)
    )
    assert next(values) == next(values)
