"""The read side: every store of the operator, joined into the values that decisions take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pydantic

from gpufleet import clock, kube, settings
from gpufleet.api import gpu_pool, meta, model_profile, training_job, triton_service
from gpufleet.observe import decode, decode_nodes, informer, kept, live, mounts, own, owners, profiles, store
from gpufleet.state import children, fleet, models, names, progress, snapshot, view

Key = own.Key
SERVICE = triton_service.KIND
JOB = training_job.KIND
POOL = gpu_pool.KIND

PRIORITY = "scheduling.k8s.io/v1"
GATEWAY = "gateway.networking.k8s.io/v1"
CHILD_KINDS: Mapping[str, str] = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "ConfigMap": "v1",
    "Job": "batch/v1",
    model_profile.KIND: meta.API_VERSION,
    "HTTPRoute": GATEWAY,
    "GRPCRoute": GATEWAY,
}
FIRST_RELIST_S = 15.0
_SELECTOR = f"{names.MANAGED_BY}={names.MANAGER}"

_log = logging.getLogger(__name__)


class Cluster:
    """What the API server shows of the fleet, with our own writes on top.

    `on_dirty` hears of every object of ours that changes itself, by a child or by a pod;
    `on_fleet_change` of nodes and of pods that hold extended resources.
    """

    def __init__(
        self, client: kube.Client, options: settings.Settings, time_source: clock.Clock | None = None
    ) -> None:
        self.on_dirty: Callable[[Key], None] = lambda _: None
        self.on_fleet_change: Callable[[], None] = lambda: None
        self.reports: dict[str, models.AgentReport] = {}
        """What each pod's model agent said last, by the pod's UID; the agent poller writes it."""
        self.progress: dict[str, progress.Progress] = {}
        """How far each worker 0 is, by the pod's UID; the progress poller writes it."""
        self._client = client
        self._options = options
        within = options.namespaces
        self._services = own.OwnKind(
            SERVICE, triton_service.TritonService, self.mark_dirty, time_source, within
        )
        self._jobs = own.OwnKind(JOB, training_job.TrainingJob, self.mark_dirty, time_source, within)
        self._pools = own.OwnKind(POOL, gpu_pool.GPUPool, self._pool_changed, time_source)
        self._own: dict[str, own.OwnKind[Any]] = {
            one.kind: one for one in (self._services, self._jobs, self._pools)
        }
        self._pods = store.Store(decode.decode_pod, owners.groups_of_pod, self._pod_changed)
        self._nodes = store.Store(decode_nodes.decode_node, on_change=self._node_changed)
        self._children: dict[str, store.Store[store.Raw]] = {
            kind: store.Store(own.without_managed_fields, owners.owners_of, self._child_changed)
            for kind in CHILD_KINDS
        }
        self._priorities = store.Store(
            decode_nodes.decode_priority, on_change=lambda _: self.on_fleet_change()
        )
        self.fleet = kept.Kept(self._nodes, self._pods, client, lambda: self.on_fleet_change(), time_source)
        self._mounts = mounts.Mounts(client, self._mount_failed, time_source, within)
        self._informers = [
            *(
                informer.Informer(
                    client, version, kind, self._children[kind], _SELECTOR, time_source, namespaces=within
                )
                for kind, version in CHILD_KINDS.items()
            ),
            informer.Informer(client, "v1", "Pod", self._pods, time_source=time_source),
            informer.Informer(client, "v1", "Node", self._nodes, time_source=time_source),
            informer.Informer(client, PRIORITY, "PriorityClass", self._priorities, time_source=time_source),
            self.fleet.claimed.informer,
            self._mounts.informer,
        ]
        self._profiles = profiles.Profiles(self._children[model_profile.KIND])
        self._pool_generations: dict[str, int] = {}

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Starts the informers and the relists of our own kinds."""
        for one in self._informers:
            tasks.create_task(one.run(), name=f"informer of {one.kind}")
        tasks.create_task(self._relist_for_ever(), name="relist of our own kinds")

    async def wait_synced(self) -> None:
        """Returns once every collection was listed, our own kinds too: waits until they are installed."""
        for kind in self._own.values():
            await self._sync_own(kind)
        for one in self._informers:
            await one.synced.wait()

    def note_event(self, kind: str, event_type: str | None, raw: store.Raw) -> None:
        """Takes an event of one of our own kinds."""
        self._own[kind].note_event(event_type, raw)

    def note_written(self, raw: Mapping[str, Any]) -> None:
        """Takes the API server's answer to a write of ours: a child, an object of our own kinds, a Node."""
        kind = raw["kind"]
        if kind == "Node":
            self._nodes.put_own(dict(raw))
            return
        target = self._own[kind].store if kind in self._own else self._children[kind]
        target.put_own(dict(raw))

    def note_deleted(self, child: children.Child) -> None:
        """Hides a child that we have deleted."""
        self._children[child.kind].remember_deleted(child.uid)

    def note_gone(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Forgets an object of our own kinds that the API server says does not exist."""
        self._own[kind].store.remove(namespace, name, uid)

    def mark_dirty(self, key: Key) -> None:
        """Asks for work on one object."""
        self.on_dirty(key)

    def keys(self) -> list[Key]:
        """(kind, namespace, name) of every object of our own kinds."""
        return [(kind, *key) for kind, held in self._own.items() for key in held.store.sorted_keys()]

    def ages(self) -> dict[str, float]:
        """Seconds since each informer heard from the API server."""
        return {one.kind: one.age_s() for one in self._informers}

    def stale(self) -> list[str]:
        """Kinds whose watch is silent for longer than can be right."""
        limit_s = self._options.watch_stale_s
        late = [kind for kind, age_s in self.ages().items() if age_s > limit_s]
        longest_s = 2 * self._options.resync_s + limit_s
        return late + [one.kind for one in self._own.values() if one.age_s() > longest_s]

    def read_raw(self, kind: str, namespace: str, name: str) -> store.Raw | None:
        """An object of our own kinds or a child, as JSON that must not be changed."""
        held = self._own[kind].store if kind in self._own else self._children[kind]
        return held.get(namespace, name)

    def read_pool(self, name: str) -> gpu_pool.GPUPool | None:
        """Raises pydantic.ValidationError where it does not parse."""
        return self._pools.read("", name)

    def read_service(self, namespace: str, name: str) -> view.ServiceView | None:
        """Raises pydantic.ValidationError where the object does not parse."""
        service = self._services.read(namespace, name)
        if service is None:
            return None
        pods = self.pods_of(SERVICE, namespace, name)
        return view.ServiceView(
            service=service,
            children=self.children_of(service.metadata.uid),
            pods=pods,
            reports={pod.uid: self.reports[pod.uid] for pod in pods if pod.uid in self.reports},
            pool=self._pool_of(service.status.assignment),
            kinds=frozenset(one.kind for one in self._informers if one.exists),
        )

    def read_job(self, namespace: str, name: str) -> view.JobView | None:
        """Raises pydantic.ValidationError where the object does not parse."""
        job = self._jobs.read(namespace, name)
        if job is None:
            return None
        pods = self.pods_of(JOB, namespace, name)
        return view.JobView(
            job=job,
            children=self.children_of(job.metadata.uid),
            pods=pods,
            pool=self._pool_of(job.status.assignment),
            progress={pod.uid: self.progress[pod.uid] for pod in pods if pod.uid in self.progress},
            lost_nodes=frozenset(pod.node for pod in pods if pod.node and not self._answers(pod.node)),
        )

    def read_snapshot(self) -> snapshot.Snapshot:
        """The whole fleet now; objects that do not parse are left out."""
        services, jobs = self._services.read_all(), self._jobs.read_all()
        nodes, pods = self.fleet.read()
        return snapshot.Snapshot(
            nodes=nodes,
            pods=pods,
            pools=self._pools.read_all(),
            services=services,
            jobs=jobs,
            live_replicas=live.replicas(self._children["Deployment"]),
            live_workers=live.workers(self._children["Job"]),
            profiles=self._profiles.read(one.metadata.uid for one in services),
            left_s=live.left_s(self.progress, pods, jobs),
            priorities=live.priorities(entry.value for entry in self._priorities.entries()),
        )

    def needs_samples(self) -> bool:
        """Whether any service follows its load, or has an accelerator whose use tells its size."""
        specs = [one.spec for one in self._services.read_all()]
        scaled = (one.autoscaling for one in specs)
        return any(one.accelerator is not None for one in specs) or any(
            one is not None and one.mode != "Off" for one in scaled
        )

    def children_of(self, uid: str) -> tuple[children.Child, ...]:
        """What the object with this UID owns."""
        return tuple(
            owners.child_of(raw, CHILD_KINDS[kind], kind, uid)
            for kind, held in self._children.items()
            for raw in held.group(uid)
        )

    def pods_of(self, kind: str, namespace: str, name: str) -> tuple[fleet.Pod, ...]:
        """The pods of a TritonService or TrainingJob, by their labels."""
        return self._mounts.explain(self._pods.group((kind, namespace, name)))

    def service_pods(self) -> Iterator[tuple[str, fleet.Pod]]:
        """(service name, pod) of every pod of a TritonService."""
        for pod in self.fleet.read()[1]:
            if service := pod.labels.get(names.SERVICE_LABEL):
                yield service, pod

    def _answers(self, node: str) -> bool:
        found = self._nodes.get("", node)
        return found is not None and found.ready

    def _pool_of(self, assignment: Any) -> gpu_pool.GPUPool | None:
        accelerator = assignment.accelerator if assignment else None
        if accelerator is None or accelerator.pool is None:
            return None
        try:
            return self.read_pool(accelerator.pool)
        except pydantic.ValidationError:
            return None

    def _mark_owners(self, pods: Iterable[fleet.Pod]) -> None:
        for key in (key for pod in pods for key in owners.groups_of_pod(pod)):
            self.mark_dirty(key)

    def _pod_changed(self, pod: fleet.Pod) -> None:
        self._mark_owners((pod,))
        if pod.requests:
            self.on_fleet_change()

    def _mount_failed(self, namespace: str, name: str) -> None:
        if pod := self._pods.get(namespace, name):
            self._mark_owners((pod,))

    def _node_changed(self, node: fleet.Node) -> None:
        self.on_fleet_change()
        if not node.ready:
            self._mark_owners(pod for pod in self.fleet.read()[1] if pod.node == node.name)
        for _namespace, name in self._pools.store.sorted_keys():
            self.mark_dirty((POOL, "", name))

    def _pool_changed(self, key: Key) -> None:
        """A changed spec changes the pods of everything that runs on the pool."""
        self.mark_dirty(key)
        raw = self._pools.store.get("", key[2])
        generation = raw["metadata"].get("generation", 0) if raw else -1
        if self._pool_generations.get(key[2]) != generation:
            self._pool_generations[key[2]] = generation
            for workload in (self._services, self._jobs):
                for namespace, name in workload.store.sorted_keys():
                    self.mark_dirty((workload.kind, namespace, name))

    def _child_changed(self, raw: store.Raw) -> None:
        for owner in raw["metadata"].get("ownerReferences", ()):
            if owner["kind"] in self._own and owner["apiVersion"].startswith(meta.GROUP + "/"):
                self.mark_dirty((owner["kind"], store.key_of(raw)[0], owner["name"]))

    async def _sync_own(self, kind: own.OwnKind[Any]) -> None:
        delay_s = informer.FIRST_BACKOFF_S
        while True:
            try:
                return await kind.sync(self._client)
            except kube.ApiError as error:
                _log.warning("listing %s: %s; again in %.1f s", kind.kind, error, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(informer.LONGEST_BACKOFF_S, delay_s * 2)

    async def _relist_for_ever(self) -> None:
        # kopf lists a moment after we did, and nobody has told of what was deleted in between.
        delay_s = min(FIRST_RELIST_S, self._options.resync_s)
        while True:
            await asyncio.sleep(delay_s)
            delay_s = self._options.resync_s
            for kind in self._own.values():
                try:
                    await kind.relist(self._client)
                except kube.ApiError as error:
                    _log.warning("listing metadata of %s: %s", kind.kind, error)
