"""A cluster of gangs in memory: API server, Job controller, scheduler, kubelets, the operator's two loops.

The decisions are those that ship. All others do what they are free to do: the scheduler binds any pod to any
node that takes it, pods end when they like, the operator dies after any of its writes.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpufleet import settings
from gpufleet.api import gpu_pool, reasons, training_job
from gpufleet.decide.placement import assign, brakes, release
from gpufleet.decide.placement.gangs import lines
from gpufleet.decide.training import job as jobs
from gpufleet.state import children, fleet, names, snapshot, view
from tests import builders
from tests.builders import GPU, NOW

BLOCK, RACK = "example.com/block", "example.com/rack"
DEFAULTS = settings.Settings()
POLICY = {"backoffSeconds": 0, "maxRestarts": 100, "maxAttempts": 1000, "avoidNodesSeconds": 60}
NEVER = (reasons.TOPOLOGY_UNSATISFIABLE, reasons.EXCEEDS_FLEET)
INDEX = names.COMPLETION_INDEX_ANNOTATION
TOLD = (fleet.Interruption("DeletionByTaintManager", "2030-01-01T12:00:00Z"),)


@dataclasses.dataclass
class Attempt:
    """A Job and its pods by their index; `ended` is Complete or Failed."""

    manifest: Mapping[str, Any]
    workers: int
    pods: dict[int, fleet.Pod] = dataclasses.field(default_factory=dict)
    ended: str = ""
    is_gone: bool = False
    version: int = 1


class World:
    """`step` does one random thing; `settle` does everything that needs no luck, until nothing moves."""

    def __init__(
        self,
        seed: int,
        nodes: int = 8,
        *,
        levels: bool = True,
        priorities: Mapping[str, int] | None = None,
        limits: brakes.Limits = brakes.NONE,
    ) -> None:
        self.random = random.Random(seed)
        self.now = NOW
        self.limits = limits
        self.priorities = {"": 0, **(priorities or {})}
        self.nodes = {one.name: one for one in map(_build_node, range(nodes))}
        topology = {"topology": {"levels": [BLOCK, RACK]}} if levels else {}
        self.pool: gpu_pool.GPUPool = builders.make_pool(**topology)
        self.specs: dict[str, dict[str, Any]] = {}
        self.created: dict[str, float] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.attempts: dict[str, dict[int, Attempt]] = {}
        self.counts: Counter[str] = Counter()
        self.lines = lines.Lines()
        self._shown: dict[str, tuple[str, training_job.TrainingJob]] = {}
        self._uids = itertools.count()

    # What is there

    def job(self, name: str) -> training_job.TrainingJob:
        """The same object until something in it changes."""
        text = repr((self.statuses[name], self.specs[name]))
        if self._shown.get(name, ("", None))[0] != text:
            made = builders.make_job(
                name, status=self.statuses[name], created_s=self.created[name], **self.specs[name]
            )
            self._shown[name] = text, made
        return self._shown[name][1]

    def pods(self) -> Iterator[fleet.Pod]:
        for attempts in self.attempts.values():
            for attempt in attempts.values():
                yield from attempt.pods.values()

    def show(self) -> snapshot.Snapshot:
        live = {}
        for name, attempts in self.attempts.items():
            there = [one for one in attempts.values() if not one.is_gone]
            if there and not there[-1].ended:
                live[f"uid-{name}"] = there[-1].workers
        return builders.make_snapshot(
            self.nodes.values(),
            self.pods(),
            pools=[self.pool],
            jobs=map(self.job, self.specs),
            live_workers=live,
            priorities=self.priorities,
        )

    def open(self) -> list[str]:
        """Jobs that have not ended."""
        return [name for name in self.specs if not self.is_over(name)]

    def is_over(self, name: str) -> bool:
        conditions = self.statuses[name].get("conditions", ())
        return any(one["type"] == "Succeeded" and one["status"] != "Unknown" for one in conditions)

    def newest(self, name: str) -> Attempt | None:
        there = [one for one in self.attempts[name].values() if not one.is_gone]
        return there[-1] if there else None

    def free_on(self, name: str) -> int:
        held = sum(pod.requests[GPU] for pod in self.pods() if pod.node == name and not pod.is_terminal)
        return self.nodes[name].allocatable[GPU] - held

    def is_whole(self, name: str) -> bool:
        """Whether every worker of the newest attempt runs or has ended well."""
        newest = self.newest(name)
        if newest is None or newest.ended or len(newest.pods) < newest.workers:
            return False
        return all(pod.node and not pod.deleting and pod.phase != "Failed" for pod in newest.pods.values())

    # The operator

    def cycle(self, writes: int = 10_000) -> None:
        taken = self.show()
        plan = self.plan(taken)
        for one in (*release.assign(taken), *plan.assignments)[:writes]:
            self.counts[one.value.get("reason", "")] += 1
            self.statuses[one.name]["assignment"] = dict(one.value)

    def plan(self, view: snapshot.Snapshot) -> assign.Plan:
        """What the fleet cycle decides."""
        return assign.plan(view, {}, self.now, self.limits, kept=self.lines)

    def reconcile(self, name: str, writes: int = 10_000) -> None:
        """One pass of an operator that lives for so many writes."""
        attempts = self.attempts[name]
        shown = [(number, one) for number, one in attempts.items() if not one.is_gone]
        seen = view.JobView(
            self.job(name),
            children=tuple(_show_attempt(name, *one) for one in shown),
            pods=tuple(pod for one in attempts.values() for pod in one.pods.values()),
            pool=self.pool,
            lost_nodes=frozenset(node for node, one in self.nodes.items() if not one.ready),
        )
        decided = jobs.decide(seen, DEFAULTS, self.now)
        done: list[Callable[[], None]] = []
        wanted = {children.ChildRef(one["kind"], one["metadata"]["name"]) for one in decided.apply}
        for child in seen.children:
            attempt = attempts[_number(child.name)]
            if child.ref not in wanted | decided.keep:
                done.append(functools.partial(self._delete_job, attempt))
            elif child.ref in decided.scale:
                done.append(functools.partial(_resize, attempt, decided.scale[child.ref]))
        made = (one for one in decided.apply if one["kind"] == "Job")
        done += [functools.partial(self._create_job, name, one) for one in made]
        done.append(functools.partial(self._write_status, name, decided.status))
        for write in done[:writes]:
            write()

    def _create_job(self, name: str, manifest: Mapping[str, Any]) -> None:
        number = _number(manifest["metadata"]["name"])
        if number not in self.attempts[name]:
            self.attempts[name][number] = Attempt(manifest, manifest["spec"]["parallelism"])

    def _write_status(self, name: str, status: Mapping[str, Any]) -> None:
        kept = {key: value for key, value in self.statuses[name].items() if key == "assignment"}
        self.statuses[name] = {**status, **kept}

    # The cluster

    def _delete_job(self, attempt: Attempt) -> None:
        attempt.is_gone = True
        self._end_pods(attempt)

    def control_jobs(self) -> None:
        """What the Job controller does: pods that are missing, and the end."""
        for name, attempts in self.attempts.items():
            for number, attempt in attempts.items():
                if not attempt.is_gone and not attempt.ended:
                    self._control(name, number, attempt)

    def _control(self, name: str, number: int, attempt: Attempt) -> None:
        for index in [one for one in attempt.pods if one >= attempt.workers]:
            self._tell(attempt, index)
        within = [pod for index, pod in attempt.pods.items() if index < attempt.workers]
        if any(pod.phase == "Failed" or pod.deleting for pod in within):
            attempt.ended = "Failed"
            self._end_pods(attempt)
        elif len(within) == attempt.workers and all(pod.phase == "Succeeded" for pod in within):
            attempt.ended = "Complete"
        else:
            for index in range(attempt.workers):
                if index not in attempt.pods:
                    attempt.pods[index] = self._build_pod(name, number, index, attempt)

    def _build_pod(self, name: str, number: int, index: int, attempt: Attempt) -> fleet.Pod:
        limits = attempt.manifest["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        made = builders.make_worker(
            f"{name}-{number}-{index}",
            name,
            number,
            requests={GPU: int(limits[GPU])},
            created_s=self.now.timestamp(),
        )
        uid = f"uid-{next(self._uids)}"
        return dataclasses.replace(made, uid=uid, labels={**made.labels, INDEX: str(index)})

    def _end_pods(self, attempt: Attempt) -> None:
        for index in list(attempt.pods):
            self._tell(attempt, index)

    def _tell(self, attempt: Attempt, index: int, found: fleet.Interruption | None = None) -> None:
        """A pod is told to end; one that has no node is gone at once."""
        pod = attempt.pods[index]
        if pod.is_terminal or pod.deleting:
            return
        if not pod.node:
            del attempt.pods[index]
            return
        told = found or builders.deleted()
        attempt.pods[index] = dataclasses.replace(pod, deleting=True, interrupted=told)

    def schedule(self, most: int = 10_000) -> int:
        """Binds up to `most` pods, in any order, each to any node that takes it."""
        waiting = [
            (attempt, index)
            for attempts in self.attempts.values()
            for attempt in attempts.values()
            for index, pod in attempt.pods.items()
            if not pod.node
        ]
        self.random.shuffle(waiting)
        free = {name: self.free_on(name) for name in self.nodes}
        bound = 0
        for attempt, index in waiting[:most]:
            pod = attempt.pods[index]
            fits = [
                name
                for name, node in self.nodes.items()
                if node.is_usable and free[name] >= pod.requests[GPU] and _accepts(attempt, node)
            ]
            if fits:
                chosen = self.random.choice(fits)
                free[chosen] -= pod.requests[GPU]
                attempt.pods[index] = dataclasses.replace(pod, node=chosen, phase="Running")
                bound += 1
        return bound

    def collect(self) -> None:
        """What kubelets do: pods that were told to end go, except on a node that is lost."""
        for attempts in self.attempts.values():
            for attempt in attempts.values():
                gone = [
                    index
                    for index, pod in attempt.pods.items()
                    if pod.deleting and self.nodes[pod.node].ready
                ]
                for index in gone:
                    del attempt.pods[index]

    # What may happen

    def submit(self) -> None:
        name = f"g{len(self.specs)}"
        size = self.random.choice((1, 1, 2, 3, 4, 6))
        spec: dict[str, Any] = {
            "framework": "Plain",
            "workers": {"max": size, "min": self.random.choice((size, max(1, size // 2)))},
            # Where pods run anywhere, sums are exact for pods of one size only.
            "accelerator": {"count": self.random.choice((1, 2, 4, 8, 8)) if self.pool.spec.topology else 4},
            "failurePolicy": POLICY,
        }
        wish = self.random.choice(({}, {"required": "rack"}, {"preferred": "rack"}, {"required": "block"}))
        if wish and self.pool.spec.topology:
            spec["topology"] = wish
        if self.random.random() < 0.4:
            spec |= {"framework": "Torch", "torch": {"rendezvous": "Elastic"}}
        urgent = self.random.choice(("", *self.priorities))
        if urgent:
            spec["priorityClassName"] = urgent
        self.add(name, spec)

    def add(self, name: str, spec: dict[str, Any]) -> None:
        self.specs[name], self.statuses[name], self.attempts[name] = spec, {}, {}
        self.created[name] = (self.now - NOW).total_seconds()

    def pick_whole(self) -> str | None:
        whole = [name for name in self.open() if self.is_whole(name)]
        return self.random.choice(whole) if whole else None

    def finish(self) -> None:
        """All workers of a gang end well."""
        if name := self.pick_whole():
            newest = self.newest(name)
            assert newest is not None
            for index, pod in newest.pods.items():
                newest.pods[index] = dataclasses.replace(pod, phase="Succeeded")

    def fail(self) -> None:
        if name := self.pick_whole():
            newest = self.newest(name)
            assert newest is not None
            index = self.random.choice(sorted(newest.pods))
            newest.pods[index] = dataclasses.replace(newest.pods[index], phase="Failed")

    def report(self) -> None:
        """A gang tells of a checkpoint that it has just written."""
        if name := self.pick_whole():
            at = self.now.isoformat()
            told = {"step": 1, "checkpointStep": 1, "checkpointTime": at, "reportedAt": at}
            self.statuses[name]["progress"] = told

    def lose_node(self) -> None:
        """It falls silent, and its pods are told to end."""
        name = self.random.choice(sorted(self.nodes))
        self.nodes[name] = dataclasses.replace(self.nodes[name], ready=False)
        for attempts in self.attempts.values():
            for attempt in attempts.values():
                for index in [one for one, pod in attempt.pods.items() if pod.node == name]:
                    self._tell(attempt, index, *TOLD)

    def restore_node(self) -> None:
        lost = sorted(name for name, one in self.nodes.items() if not one.ready)
        if lost:
            name = self.random.choice(lost)
            self.nodes[name] = dataclasses.replace(self.nodes[name], ready=True)

    def suspend(self) -> None:
        if self.open():
            name = self.random.choice(self.open())
            self.specs[name] = {**self.specs[name], "suspend": not self.specs[name].get("suspend", False)}

    def die(self) -> None:
        """The operator ends in the middle of a pass; the next one starts from what the cluster shows."""
        if self.random.random() < 0.5 or not self.open():
            self.cycle(writes=self.random.randint(0, 3))
        else:
            self.reconcile(self.random.choice(self.open()), writes=self.random.randint(0, 2))

    def step(self) -> None:
        """One thing of those that may happen."""
        self.now += datetime.timedelta(seconds=self.random.choice((0, 1, 5, 60)))
        likely: list[tuple[Callable[[], Any], int]] = [
            (self.submit, 4 if len(self.open()) < 12 else 0),
            (self.cycle, 10),
            (self.control_jobs, 10),
            (self.collect, 8),
            (lambda: self.schedule(self.random.randint(1, 4)), 14),
            (lambda: self.open() and self.reconcile(self.random.choice(self.open())), 20),
            (self.finish, 5),
            (self.fail, 2),
            (self.report, 3),
            (self.lose_node, 1),
            (self.restore_node, 2),
            (self.suspend, 1),
            (self.die, 3),
        ]
        actions, weights = zip(*likely, strict=True)
        self.random.choices(actions, weights)[0]()

    def settle(self) -> None:
        """Everybody does their work until nothing moves."""
        for _ in range(60):
            before = repr((self.statuses, self.attempts))
            self.now += datetime.timedelta(seconds=1)
            self.cycle()
            for name in self.open():
                self.reconcile(name)
            self.control_jobs()
            self.collect()
            self.schedule()
            if repr((self.statuses, self.attempts)) == before:
                return
        raise AssertionError("it never comes to rest")

    # What must hold

    def check(self) -> None:
        """No node holds more than it has, and no two attempts of a gang run."""
        for name in self.nodes:
            assert self.free_on(name) >= 0, f"{name} is booked twice"
        for name, attempts in self.attempts.items():
            running = [one for one in attempts.values() if not one.is_gone and not one.ended]
            assert len(running) <= 1, f"two attempts of {name}"

    def check_rest(self) -> None:
        """Once all is done that can be done, every gang is whole or holds nothing."""
        for name in self.open():
            newest = self.newest(name)
            pods = [pod for pod in newest.pods.values() if not pod.is_terminal] if newest else []
            given = self.statuses[name].get("assignment") or {}
            if self.is_whole(name):
                assert newest is not None
                assert newest.workers <= given["workers"]
                continue
            live = [pod for pod in pods if not pod.deleting]
            assert not live, f"{name} is half there: {given}"


def _build_node(number: int) -> fleet.Node:
    made = builders.make_node(f"n{number}", {GPU: 8})
    labels = {BLOCK: f"b{number // 4}", RACK: f"r{number // 2 % 2}", "kubernetes.io/hostname": made.name}
    return dataclasses.replace(made, labels={**made.labels, **labels})


def _number(job: str) -> int:
    return int(job.rpartition("-")[2])


def _resize(attempt: Attempt, size: int) -> None:
    attempt.workers = size


def _show_attempt(name: str, number: int, attempt: Attempt) -> children.Child:
    shown = builders.make_attempt(number, attempt.ended, job=name, workers=attempt.workers)
    body = {
        **shown.body,
        "spec": {**attempt.manifest["spec"], "parallelism": attempt.workers, "completions": attempt.workers},
    }
    return dataclasses.replace(shown, body=body)


def _accepts(attempt: Attempt, node: fleet.Node) -> bool:
    """As kube-scheduler reads a pod's required node affinity."""
    affinity = attempt.manifest["spec"]["template"]["spec"].get("affinity") or {}
    required = affinity.get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(
        all(node.name in one["values"] for one in term.get("matchFields", ()))
        and all(node.labels.get(one["key"]) in one["values"] for one in term.get("matchExpressions", ()))
        for term in required["nodeSelectorTerms"]
    )


def run(world: World, steps: int, rest_every: int = 100) -> None:
    """So many random steps; then everything ends well that has not. Raises AssertionError."""
    for number in range(1, steps + 1):
        world.step()
        world.check()
        if number % rest_every == 0:
            world.settle()
            world.check_rest()
    drain(world)


def drain(world: World) -> None:
    """All nodes come back, nothing fails any more: every job must end well that ever can."""
    for name, spec in world.specs.items():
        world.specs[name] = {**spec, "suspend": False}
    while any(not one.ready for one in world.nodes.values()):
        world.restore_node()
    for _ in range(200):
        world.now += datetime.timedelta(seconds=61)
        world.settle()
        world.check_rest()
        if all(_reason(world, name) in NEVER for name in world.open()):
            break
        world.finish()
    for name in world.specs:
        said = _reason(world, name)
        assert said in (reasons.COMPLETED, *NEVER), f"{name} was lost: {said}"


def _reason(world: World, name: str) -> str:
    conditions = world.statuses[name].get("conditions", ())
    return next((str(one["reason"]) for one in conditions if one["type"] == "Succeeded"), "")
